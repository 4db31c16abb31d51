package io.llara.train.pairs;

import io.llara.LlaraException;
import io.llara.ProgressListener;
import io.llara.io.AtomicFiles;
import java.io.IOException;
import java.nio.file.Path;

/**
 * Something that training pairs can be made of. What is read streams: neither passages nor pairs
 * lie in memory. Immutable; each call of {@link #write} reads all anew.
 */
public abstract sealed class PairSource permits JudgedPairs, PairLines, TriplePairs {
  PairSource() {}

  /**
   * Writes the pairs, as {@link io.llara.train.data.Dataset#ofPairs} reads them: JSON lines {@code
   * {"query": …, "pos": [ … ], "neg": [ … ]}}, gzipped if the name ends in {@code .gz}. The file is
   * written aside and renamed.
   *
   * @param listener hears how many pairs there are so far, of how many queries; the latter is -1
   *     where it is not known
   * @throws LlaraException naming file and line if a file is not what it should be, if there is no
   *     pair at all, if the file cannot be written, or if this thread is interrupted; nothing is
   *     written then
   */
  public final PairReport write(Path out, ProgressListener listener) {
    PairSink[] sink = new PairSink[1];
    AtomicFiles.writeText(
        out,
        writer -> {
          sink[0] = new PairSink(writer, listener);
          read(sink[0]);
          if (sink[0].report().pairs() == 0) {
            throw new LlaraException(
                "%s: there is no pair in it%s".formatted(this, sink[0].because()));
          }
        });
    return sink[0].report();
  }

  /** Hands out all pairs. */
  abstract void read(PairSink sink) throws IOException;
}

package io.llara.train.data;

import io.llara.io.LineReader;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Lines of files in some order. */
interface LineSource extends AutoCloseable {
  /**
   * Goes to the next line.
   *
   * @return a reader at that line, valid until the next call; null after the last
   */
  @Nullable LineReader next();

  @Override
  void close();

  /** Returns the lines as they stand, of one file after the other. */
  static LineSource inOrder(List<Path> files) {
    Iterator<Path> left = files.iterator();
    return new LineSource() {
      private @Nullable LineReader file;

      @Override
      public @Nullable LineReader next() {
        while (file == null || !file.advance()) {
          close();
          if (!left.hasNext()) {
            return null;
          }
          file = new LineReader(left.next());
        }
        return file;
      }

      @Override
      public void close() {
        if (file != null) {
          file.close();
          file = null;
        }
      }
    };
  }
}

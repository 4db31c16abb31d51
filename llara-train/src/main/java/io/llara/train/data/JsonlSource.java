package io.llara.train.data;

import com.google.common.collect.ImmutableList;
import io.llara.LlaraException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What training draws from: JSONL files, {@code .gz} among them, and how they are read.
 *
 * <p>Nothing is kept in memory but the line at hand. A source can be opened any number of times and
 * gives the same in the same order while its files stay as they are. Immutable and thread-safe.
 *
 * @param <T> what the lines become
 */
public abstract sealed class JsonlSource<T> permits TextSource, PairSource {
  private static final Logger LOG = LoggerFactory.getLogger(JsonlSource.class);
  private static final int LOGGED_LINES = 10;

  private final ImmutableList<Path> files;
  private final BadLines badLines;
  private final double fraction;
  private final boolean heldOutWanted;
  private final AtomicInteger logged = new AtomicInteger();

  JsonlSource(Builder<?> builder) {
    this.files = builder.files;
    this.badLines = builder.badLines;
    this.fraction = builder.fraction;
    this.heldOutWanted = builder.heldOutWanted;
  }

  /** Begins a pass over the files; the caller closes it. */
  public abstract JsonlStream<T> open();

  /** Reads everything once and returns what it found. Takes as long as that takes. */
  public DataStatistics count() {
    try (JsonlStream<T> stream = open()) {
      while (stream.hasNext()) {
        stream.next();
      }
      return stream.statistics();
    }
  }

  /**
   * Makes sure that there is something to train on; reads up to the first usable line.
   *
   * @throws LlaraException if there is nothing; says what there is instead. Also as {@link
   *     JsonlStream#hasNext}
   */
  public void requireExamples() {
    try (JsonlStream<T> stream = open()) {
      if (!stream.hasNext()) {
        throw nothing(stream.statistics());
      }
    }
  }

  /** Returns what is missing if there is nothing to train on. */
  abstract String noun();

  /** Returns why documents gave nothing. */
  String shortBecause() {
    return "too short";
  }

  LlaraException nothing(DataStatistics found) {
    String what = "usable " + noun();
    if (found.lines() == 0) {
      return new LlaraException(names() + ": no " + what + ": there is no line in it");
    }
    StringBuilder message = new StringBuilder(names()).append(": no ").append(what).append(" in ");
    message.append(found.lines()).append(found.lines() == 1 ? " line" : " lines").append(": ");
    List<String> reasons = new ArrayList<>();
    if (found.badLines() > 0) {
      reasons.add(found.badLines() + " bad");
    }
    if (found.shortDocuments() > 0) {
      reasons.add(found.shortDocuments() + " " + shortBecause());
    }
    if (found.otherPart() > 0) {
      reasons.add(
          "%d %s"
              .formatted(
                  found.otherPart(), heldOutWanted ? "for training, none held out" : "held out"));
    }
    return new LlaraException(message.append(String.join(", ", reasons)).toString());
  }

  String names() {
    String first = files.stream().limit(3).map(Path::toString).collect(Collectors.joining(", "));
    return files.size() > 3 ? first + " and " + (files.size() - 3) + " more" : first;
  }

  List<Path> files() {
    return files;
  }

  /** Returns the held-out fraction; 0 if there is no split. */
  double fraction() {
    return fraction;
  }

  boolean heldOutWanted() {
    return heldOutWanted;
  }

  /** Refuses a line that cannot be used, or logs it; logs of all passes count together. */
  void bad(LlaraException reason) {
    if (badLines == BadLines.REFUSE) {
      throw reason;
    }
    int before = logged.getAndUpdate(n -> Math.min(n + 1, LOGGED_LINES));
    if (before < LOGGED_LINES) {
      LOG.warn(
          "skipped: {}{}",
          reason.getMessage(),
          before + 1 < LOGGED_LINES ? "" : " (more bad lines are counted, not shown)");
    }
  }

  /** Returns the files. */
  @Override
  public String toString() {
    return names();
  }

  /**
   * Collects the settings that all sources have. Not thread-safe.
   *
   * @param <B> the builder itself
   */
  public abstract static sealed class Builder<B extends Builder<B>>
      permits TextSource.Builder, PairSource.Builder {
    private final ImmutableList<Path> files;
    private BadLines badLines = BadLines.REFUSE;
    private double fraction;
    private boolean heldOutWanted;

    Builder(List<Path> files) {
      this.files = ImmutableList.copyOf(files);
    }

    abstract B self();

    /** Sets what happens to a line that cannot be used; {@link BadLines#REFUSE} by default. */
    public B badLines(BadLines lines) {
      this.badLines = lines;
      return self();
    }

    /**
     * Splits the data set and takes one part. A line falls on one side by a hash, so that it stays
     * there whatever else is in the files; the source says what of. By default there is no split.
     *
     * @param heldOutFraction how much is held out, from 0 (nothing, no split) to below 1
     * @param wanted true for the held-out part, false for the rest
     */
    public B heldOut(double heldOutFraction, boolean wanted) {
      this.fraction = heldOutFraction;
      this.heldOutWanted = wanted;
      return self();
    }

    /**
     * Checks the settings.
     *
     * @param own what is wrong with the settings of one kind of source
     */
    void check(List<String> own) {
      List<String> problems = new ArrayList<>();
      if (files.isEmpty()) {
        problems.add("there is no data file");
      }
      problems.addAll(own);
      if (!(fraction >= 0 && fraction < 1)) {
        problems.add("the held-out fraction is %s, expected from 0 to below 1".formatted(fraction));
      } else if (fraction == 0 && heldOutWanted) {
        problems.add("the held-out part is wanted, but its fraction is 0");
      }
      if (!problems.isEmpty()) {
        throw new IllegalArgumentException(String.join("; ", problems));
      }
      String wrong =
          files.stream()
              .filter(file -> !Files.isRegularFile(file))
              .map(file -> file + (Files.exists(file) ? ": is no regular file" : ": no such file"))
              .collect(Collectors.joining("; "));
      if (!wrong.isEmpty()) {
        throw new LlaraException(wrong + "; expected JSONL files to train on");
      }
    }
  }
}

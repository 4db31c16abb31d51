package io.llara.train.data;

import static java.util.Objects.requireNonNull;

import com.google.common.base.Suppliers;
import com.google.common.collect.ImmutableList;
import com.google.common.hash.Hashing;
import io.llara.LlaraException;
import io.llara.io.Messages;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What training draws from: JSONL files, plain or gzipped, and how they are read.
 *
 * <p>Nothing is kept in memory but the line at hand. A dataset can be opened any number of times
 * and gives the same in the same order while its files stay as they are. Immutable and thread-safe.
 *
 * <pre>{@code
 * Dataset<TrainingPair> pairs =
 *     Dataset.ofPairs(List.of(Path.of("medquad.jsonl.gz"))).heldOut(0.02, false);
 * try (DatasetReader<TrainingPair> reader = pairs.open()) {
 *   reader.forEachRemaining(pair -> train(pair));
 * }
 * }</pre>
 *
 * @param <T> the examples
 */
public final class Dataset<T> {
  private static final Logger LOG = LoggerFactory.getLogger(Dataset.class);
  private static final int LOGGED_LINES = 10;
  private static final int MAX_WEIGHT = 1000;

  private final ImmutableList<Path> files;
  private final LineFormat<T> format;
  private final BadLines badLines;
  private final Split split;

  /** One for each file; empty if all are 1. */
  private final ImmutableList<Double> weights;

  private final AtomicInteger logged = new AtomicInteger();
  private final Supplier<List<Long>> examplesByFile = Suppliers.memoize(this::countByFile);

  /** Which lines belong to this part. */
  private record Split(double fraction, boolean heldOutWanted) {}

  private Dataset(
      List<Path> files,
      LineFormat<T> format,
      BadLines badLines,
      Split split,
      List<Double> weights) {
    this.files = ImmutableList.copyOf(files);
    this.format = format;
    this.badLines = badLines;
    this.split = split;
    this.weights = ImmutableList.copyOf(weights);
  }

  /**
   * Returns texts for adaptation.
   *
   * @param files the files, read in this order
   * @throws IllegalArgumentException if there is no file
   * @throws LlaraException if a file does not exist or is not a regular file; all such are named
   */
  public static Dataset<TrainingText> ofTexts(List<Path> files, TextFormat format) {
    return of(files, format);
  }

  /**
   * Returns queries with passages, of which none needs a negative; see {@link #ofPairs(List, int)}.
   */
  public static Dataset<TrainingPair> ofPairs(List<Path> files) {
    return ofPairs(files, 0);
  }

  /**
   * Returns queries with passages.
   *
   * <p>A line is a JSON object {@code {"query": …, "pos": [ … ], "neg": [ … ]}}, as the released
   * code has it: a query, at least one passage that answers it, and passages that do not. {@code
   * neg} may be empty or absent; other keys ({@code pos_scores}, {@code prompt}, {@code id} …) are
   * passed over.
   *
   * <p>A pair is held out by a hash of its query: lines with the same query stay on one side. A
   * passage that answers several queries may be on both.
   *
   * @param files the files, read in this order
   * @param minNegatives how many negatives a line must have to be usable; see {@link
   *     GroupSampler#minNegatives}. A line that has fewer is a bad one
   * @throws IllegalArgumentException if there is no file, or {@code minNegatives} is negative
   * @throws LlaraException if a file does not exist or is not a regular file; all such are named
   */
  public static Dataset<TrainingPair> ofPairs(List<Path> files, int minNegatives) {
    return of(files, new PairFormat(minNegatives, false));
  }

  /**
   * Returns queries with passages and a teacher's score of each, as {@link #ofPairs(List, int)}. A
   * line also has {@code pos_scores} and {@code neg_scores}, as many numbers as there are passages;
   * one without is a bad one.
   */
  public static Dataset<TrainingPair> ofScoredPairs(List<Path> files, int minNegatives) {
    return of(files, new PairFormat(minNegatives, true));
  }

  /**
   * Returns files, with each folder among them replaced by the files in it, at any depth and in the
   * order of their paths, whose names end in {@code .jsonl} or {@code .tsv}, and perhaps {@code
   * .gz}. Hidden ones are left out.
   *
   * @throws LlaraException if a folder has none, or cannot be listed
   */
  public static List<Path> filesIn(List<Path> paths) {
    return paths.stream()
        .flatMap(path -> Files.isDirectory(path) ? inFolder(path).stream() : Stream.of(path))
        .toList();
  }

  private static List<Path> inFolder(Path folder) {
    try (Stream<Path> all = Files.walk(folder)) {
      List<Path> files =
          all.filter(Files::isRegularFile)
              .filter(file -> file.getFileName().toString().matches("[^.].*\\.(jsonl|tsv)(\\.gz)?"))
              .sorted()
              .toList();
      if (files.isEmpty()) {
        throw new LlaraException(
            folder + ": contains no file whose name ends in .jsonl, .jsonl.gz, .tsv or .tsv.gz");
      }
      return files;
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be listed: %s".formatted(folder, Messages.reason(e)), e);
    } catch (UncheckedIOException e) {
      throw new LlaraException(
          "%s: cannot be listed: %s"
              .formatted(folder, Messages.reason(requireNonNull(e.getCause()))),
          e);
    }
  }

  private static <T> Dataset<T> of(List<Path> files, LineFormat<T> format) {
    if (files.isEmpty()) {
      throw new IllegalArgumentException("there is no data file");
    }
    String wrong =
        files.stream()
            .filter(file -> !Files.isRegularFile(file))
            .map(file -> file + (Files.exists(file) ? ": not a regular file" : ": no such file"))
            .collect(Collectors.joining("; "));
    if (!wrong.isEmpty()) {
      throw new LlaraException(wrong + "; expected JSONL files to train on");
    }
    return new Dataset<>(files, format, BadLines.REFUSE, new Split(0, false), List.of());
  }

  /**
   * Returns the same with one more condition: a line with an example that a check throws a {@link
   * LlaraException} for cannot be used.
   *
   * @param check looks at each example; thread-safe if the dataset is to be
   */
  public Dataset<T> checked(Consumer<T> check) {
    return new Dataset<>(files, format.checked(check), badLines, split, weights);
  }

  /** Returns the same with another fate of lines that cannot be used; at first they are refused. */
  public Dataset<T> badLines(BadLines lines) {
    return new Dataset<>(files, format, lines, split, weights);
  }

  /**
   * Returns one part of these lines. A line falls on one side by a hash, so that it stays there
   * whatever else is in the files; the format says what of. At first there is no split.
   *
   * @param heldOutFraction how much is held out, from 0 (nothing, no split) to below 1
   * @param wanted true for the held-out part, false for the rest
   * @throws IllegalArgumentException if the fraction is out of its bounds, or 0 and wanted
   */
  public Dataset<T> heldOut(double heldOutFraction, boolean wanted) {
    if (!(heldOutFraction >= 0 && heldOutFraction < 1)) {
      throw new IllegalArgumentException(
          "the held-out fraction is %s; expected from 0 to below 1".formatted(heldOutFraction));
    }
    if (heldOutFraction == 0 && wanted) {
      throw new IllegalArgumentException("the held-out part is wanted, but its fraction is 0");
    }
    return new Dataset<>(files, format, badLines, new Split(heldOutFraction, wanted), weights);
  }

  /**
   * Returns the same with weights: how often each line of a file is drawn in an epoch. With 2 it is
   * twice; with 0.5 every other line, in the next epoch the other half. {@link #open} and {@link
   * #count} read each line once all the same.
   *
   * @param ofFiles one for each file, more than 0; none for 1 each
   * @throws IllegalArgumentException if they are not as many as the files, or one is out of range
   */
  public Dataset<T> weighted(List<Double> ofFiles) {
    if (!ofFiles.isEmpty() && ofFiles.size() != files.size()) {
      throw new IllegalArgumentException(
          "%d weights for %d files; expected one for each".formatted(ofFiles.size(), files.size()));
    }
    ofFiles.forEach(
        weight -> {
          if (!(weight > 0 && weight <= MAX_WEIGHT)) {
            throw new IllegalArgumentException(
                "the weight of a file is %s; expected more than 0, and %d at most"
                    .formatted(weight, MAX_WEIGHT));
          }
        });
    return new Dataset<>(files, format, badLines, split, ofFiles);
  }

  /** Returns one of the files alone, drawn from once an epoch. */
  Dataset<T> only(int file) {
    return new Dataset<>(List.of(files.get(file)), format, badLines, split, List.of());
  }

  boolean isWeighted() {
    return weights.stream().anyMatch(weight -> weight != 1);
  }

  /** Returns whether each epoch has the same lines. */
  boolean epochsAreAlike() {
    return weights.stream().allMatch(weight -> weight == Math.rint(weight));
  }

  double weight(int file) {
    return weights.isEmpty() ? 1 : weights.get(file);
  }

  /** Returns how many examples each file has. Reads everything the first time. */
  List<Long> examplesByFile() {
    return examplesByFile.get();
  }

  private List<Long> countByFile() {
    return IntStream.range(0, files.size())
        .mapToObj(file -> only(file).count().examples())
        .toList();
  }

  /**
   * Returns how many examples an epoch has, about as many where a weight is a fraction. Reads
   * everything the first time.
   */
  public long examplesPerEpoch() {
    double examples = 0;
    for (int file = 0; file < files.size(); file++) {
      examples += examplesByFile().get(file) * weight(file);
    }
    return Math.round(examples);
  }

  /** Begins a pass over the files; the caller closes it. */
  public DatasetReader<T> open() {
    return new DatasetReader<>(this, LineSource.inOrder(files));
  }

  /** Reads everything once and returns what it found. Takes as long as that takes. */
  public DataStatistics count() {
    try (DatasetReader<T> reader = open()) {
      while (reader.hasNext()) {
        reader.next();
      }
      return reader.statistics();
    }
  }

  /**
   * Makes sure that there is something to train on; reads up to the first usable line.
   *
   * @throws LlaraException if there is nothing; says what there is instead. Also as {@link
   *     DatasetReader#hasNext}
   */
  public void requireExamples() {
    try (DatasetReader<T> reader = open()) {
      if (!reader.hasNext()) {
        throw nothing(reader.statistics());
      }
    }
  }

  LlaraException nothing(DataStatistics found) {
    String what = "%s: no usable %s".formatted(this, format.noun());
    if (found.lines() == 0) {
      return new LlaraException(what + ": there is no line in it");
    }
    List<String> reasons = new ArrayList<>();
    if (found.badLines() > 0) {
      reasons.add(found.badLines() + " bad");
    }
    if (found.shortDocuments() > 0) {
      reasons.add(found.shortDocuments() + " " + format.shortBecause());
    }
    if (found.otherPart() > 0) {
      reasons.add(
          found.otherPart()
              + (split.heldOutWanted() ? " for training, none held out" : " held out"));
    }
    return new LlaraException(
        "%s in %d %s: %s"
            .formatted(
                what,
                found.lines(),
                found.lines() == 1 ? "line" : "lines",
                String.join(", ", reasons)));
  }

  List<Path> files() {
    return files;
  }

  LineFormat<T> format() {
    return format;
  }

  /** Returns whether the held-out split gives a line to this part. */
  boolean holds(String splitKey) {
    if (split.fraction() == 0) {
      return true;
    }
    long hash = Hashing.murmur3_128().hashString(splitKey, StandardCharsets.UTF_8).asLong();
    return ((hash >>> 11) * 0x1p-53 < split.fraction()) == split.heldOutWanted();
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

  /** Returns the first files. */
  @Override
  public String toString() {
    String first = files.stream().limit(3).map(Path::toString).collect(Collectors.joining(", "));
    return files.size() > 3 ? first + " and " + (files.size() - 3) + " more" : first;
  }
}

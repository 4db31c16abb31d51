package io.llara.train.pairs;

import com.google.common.collect.Maps;
import com.google.common.hash.Hashing;
import io.llara.LlaraException;
import io.llara.io.LineReader;
import io.llara.retrieval.Document;
import io.llara.retrieval.eval.CollectionFiles;
import io.llara.retrieval.eval.Metric;
import io.llara.retrieval.eval.Qrels;
import io.llara.retrieval.eval.Run;
import io.llara.retrieval.eval.ScoredDocument;
import io.llara.train.mining.Sampling;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * A collection with queries and judgements, as BEIR and MS MARCO have them, and, for negatives,
 * what some system found. A judged query becomes a pair with all its relevant passages, in the
 * order of the judgements.
 *
 * <pre>{@code
 * PairSource pairs =
 *     JudgedPairs.of(CollectionFiles.ofBeir(Path.of("beir/fiqa"), "train"))
 *         .negatives(new JudgedPairs.Negatives(Path.of("bm25.run"), 10, 200, 15, Sampling.RANDOM, 42));
 * PairReport report = pairs.write(Path.of("pairs.jsonl.gz"), ProgressListener.NONE);
 * }</pre>
 *
 * <p>Judgements lie in memory, some 400 bytes each; passages, queries and the run do not: their
 * texts and the ids that the window holds are put aside in the system's folder for temporary files,
 * which must have room for them.
 */
public final class JudgedPairs extends PairSource {
  private final CollectionFiles files;
  private final int relevanceLevel;
  private final boolean skipUnknown;
  private final Optional<Negatives> negatives;

  /**
   * Where negatives come from: a window of the ranks of a run file, less the passages that are
   * judged relevant. The lines of a query must be together.
   *
   * @param run the run file, as trec_eval reads it
   * @param from the first rank, the best being 0
   * @param to the rank after the last
   * @param count how many a query gets, if there are as many
   * @param sampling which of them
   * @param seed the seed of {@link Sampling#RANDOM}; a draw depends on it and the query's id alone
   */
  public record Negatives(Path run, int from, int to, int count, Sampling sampling, long seed) {
    /** Checks the numbers. */
    public Negatives {
      if (from < 0 || to <= from) {
        throw new IllegalArgumentException(
            "the ranks are from %d to below %d; expected 0 or more, and one at least"
                .formatted(from, to));
      }
      if (count < 1) {
        throw new IllegalArgumentException(
            "%d negatives are wanted; expected 1 or more".formatted(count));
      }
    }
  }

  private JudgedPairs(
      CollectionFiles files,
      int relevanceLevel,
      boolean skipUnknown,
      Optional<Negatives> negatives) {
    this.files = files;
    this.relevanceLevel = relevanceLevel;
    this.skipUnknown = skipUnknown;
    this.negatives = negatives;
  }

  /** Returns the pairs of a collection, without negatives. */
  public static JudgedPairs of(CollectionFiles files) {
    return new JudgedPairs(files, Metric.DEFAULT_RELEVANCE_LEVEL, false, Optional.empty());
  }

  /**
   * Returns the same with another least grade of a relevant passage.
   *
   * @throws IllegalArgumentException if it is below 1
   */
  public JudgedPairs relevanceLevel(int level) {
    if (level < 1) {
      throw new IllegalArgumentException(
          "the relevance level is " + level + "; expected 1 or more");
    }
    return new JudgedPairs(files, level, skipUnknown, negatives);
  }

  /**
   * Returns the same with another fate of ids that judgements or run name and the files do not
   * have: they are left out and counted, or, as at first, the first one is an error.
   */
  public JudgedPairs skipUnknown(boolean skip) {
    return new JudgedPairs(files, relevanceLevel, skip, negatives);
  }

  /** Returns the same with negatives. */
  public JudgedPairs negatives(Negatives wanted) {
    return new JudgedPairs(files, relevanceLevel, skipUnknown, Optional.of(wanted));
  }

  @Override
  void read(PairSink sink) throws IOException {
    Qrels qrels = Qrels.read(files.qrels());
    sink.total(qrels.queryIds().size());
    // What is missing shows before the collection is read, which may take long.
    LineReader.requireFile(files.corpus(), "a file of passages");
    try (TextStore queries = TextStore.read(files.queries(), Document::text);
        TextStore candidates = negatives.map(JudgedPairs::candidates).orElse(null);
        TextStore passages = TextStore.read(files.corpus(), Document::passage)) {
      for (String query : qrels.queryIds()) {
        Set<String> relevant =
            Maps.filterValues(qrels.grades(query), grade -> grade >= relevanceLevel).keySet();
        if (relevant.isEmpty()) {
          sink.leftOut("queries without a relevant passage");
          continue;
        }
        String judged = relevant.iterator().next();
        List<String> text =
            texts(queries, List.of(query), sink, id -> judgement(query, judged) + "the query");
        if (!text.isEmpty()) {
          sink.add(
              text.get(0),
              texts(passages, relevant, sink, id -> judgement(query, id) + "the passage"),
              texts(
                  passages,
                  chosen(query, candidates == null ? null : candidates.get(query), relevant),
                  sink,
                  id -> hit(query, id) + "the passage"));
        }
      }
    }
  }

  /**
   * Returns the texts of ids that a store has.
   *
   * @param naming says where an id is named, and what it should be
   */
  private List<String> texts(
      TextStore store, Collection<String> ids, PairSink sink, UnaryOperator<String> naming) {
    List<String> texts = new ArrayList<>();
    for (String id : ids) {
      String text = store.get(id);
      if (text != null) {
        texts.add(text);
      } else if (skipUnknown) {
        sink.leftOut("ids that %s does not have".formatted(store));
      } else {
        throw new LlaraException(
            "%s '%s', which %s does not have".formatted(naming.apply(id), id, store));
      }
    }
    return texts;
  }

  private String judgement(String query, String passage) {
    return "%s:%d: names ".formatted(files.qrels(), Qrels.line(files.qrels(), query, passage));
  }

  private String hit(String query, String passage) {
    Path run = negatives.orElseThrow().run();
    return "%s:%d: names ".formatted(run, Run.line(run, query, passage));
  }

  /** Returns the negatives among the candidates of a query, null if there are none. */
  private List<String> chosen(String query, @Nullable String candidates, Set<String> relevant) {
    if (candidates == null || candidates.isEmpty()) {
      return List.of();
    }
    Negatives wanted = negatives.orElseThrow();
    List<String> others =
        Arrays.stream(candidates.split(" ")).filter(id -> !relevant.contains(id)).toList();
    return wanted
        .sampling()
        .choose(
            others,
            wanted.count(),
            Sampling.seed(
                wanted.seed(),
                List.of(Hashing.murmur3_128().hashString(query, StandardCharsets.UTF_8))));
  }

  /** Puts the ids within the window aside, by query. */
  private static TextStore candidates(Negatives wanted) {
    return new TextStore(
        wanted.run(),
        input ->
            Run.stream(
                wanted.run(),
                (query, ranking, line) ->
                    input.put(
                        query,
                        ranking.documents().stream()
                            .skip(wanted.from())
                            .limit(wanted.to() - wanted.from())
                            .map(ScoredDocument::id)
                            .collect(Collectors.joining(" ")),
                        line)),
        "goes back to query '%s' of line %d; expected the results of a query together");
  }

  /** Returns the files. */
  @Override
  public String toString() {
    return files.all().toString();
  }
}

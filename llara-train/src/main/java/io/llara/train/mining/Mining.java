package io.llara.train.mining;

import static java.util.Objects.requireNonNull;

import com.google.common.hash.HashCode;
import com.google.gson.JsonArray;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import io.llara.io.StrictJson;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.Hits;
import io.llara.retrieval.Query;
import io.llara.retrieval.SearchMethod;
import io.llara.retrieval.Searcher;
import io.llara.retrieval.Searcher.Candidate;
import io.llara.retrieval.TextSet;
import io.llara.train.data.Dataset;
import io.llara.train.data.TrainingPair;
import io.llara.train.mining.CandidateFilter.Excluded;
import io.llara.train.mining.CandidateFilter.Remaining;
import io.llara.train.mining.MiningListener.Stage;
import io.llara.train.mining.MiningReport.Count;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.EnumMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import org.jspecify.annotations.Nullable;

/** One run of a {@link HardNegativeMiner}: counts what happens on the way. For one thread. */
final class Mining {
  /** Pairs of so many characters are searched for at once, if the search does not want fewer. */
  private static final long BATCH_CHARACTERS = 1 << 24;

  private final HardNegativeMiner miner;
  private final SearchMethod search;
  private final PairTexts pairs;
  private final Passages passages;
  private final CandidateFilter filter;
  private final List<TrainingPair> batch = new ArrayList<>();
  private long batchCharacters;

  /** The negatives chosen, in the order of the pairs. */
  private final List<Hits> chosen = new ArrayList<>();

  /** The places of passages whose text is that of a positive or a kept negative. */
  private final BitSet named = new BitSet();

  private final Map<Count, Long> counts = new EnumMap<>(Count.class);
  private final Map<DropReason, Long> dropped = new EnumMap<>(DropReason.class);
  private OptionalDouble recall = OptionalDouble.empty();

  private Mining(HardNegativeMiner miner, SearchMethod search, PairTexts pairs, Passages passages) {
    this.miner = miner;
    this.search = search;
    this.pairs = pairs;
    this.passages = passages;
    this.filter = new CandidateFilter(miner.rules, passages::text);
  }

  static MiningReport run(
      HardNegativeMiner miner, Dataset<TrainingPair> source, SearchMethod search, Path out) {
    try (OwnPassages own = miner.corpus.isPresent() ? null : new OwnPassages()) {
      PairTexts pairs = readPairs(miner, source, own);
      Corpus corpus =
          own == null ? miner.corpus.orElseThrow() : own.corpus("the passages of " + source);
      Passages passages =
          new Passages(
              corpus,
              pairs,
              (count, total) -> progress(miner.listener, Stage.COLLECTION, count, total));
      if (passages.count() <= miner.rules.from()) {
        throw new LlaraException(
            "%s: holds %d passages, none of them at the ranks %d to %d, the best being 0"
                .formatted(
                    corpus.name(), passages.count(), miner.rules.from(), miner.rules.to() - 1));
      }
      return new Mining(miner, search, pairs, passages).run(out);
    }
  }

  private static PairTexts readPairs(
      HardNegativeMiner miner, Dataset<TrainingPair> source, @Nullable OwnPassages own) {
    long[] read = new long[1];
    return PairTexts.read(
        source,
        pair -> {
          if (own != null) {
            own.add(pair);
          }
          progress(miner.listener, Stage.PAIRS, ++read[0], -1);
        });
  }

  private static void progress(MiningListener listener, Stage stage, long done, long total) {
    if (Thread.currentThread().isInterrupted()) {
      throw new LlaraException("the mining was interrupted; nothing was written");
    }
    listener.progress(stage, done, total);
  }

  private void progress(Stage stage, long done, long total) {
    progress(miner.listener, stage, done, total);
  }

  private MiningReport run(Path out) {
    progress(Stage.INDEX, 0, passages.count());
    try (Searcher searcher =
        search.open(TextSet.of(passages.corpus(), passages.summary()), miner.listener)) {
      progress(Stage.INDEX, passages.count(), passages.count());
      progress(Stage.SEARCH, 0, pairs.statistics().examples());
      int most = searcher.batch(Math.min(miner.rules.to(), passages.count()));
      pairs.forEach(
          pair -> {
            batch.add(pair);
            batchCharacters += characters(pair);
            if (batch.size() == most || batchCharacters > BATCH_CHARACTERS) {
              mineBatch(searcher);
            }
          });
      mineBatch(searcher);
    }
    count(Count.PAIRS, pairs.statistics().examples());
    count(Count.QUERIES, pairs.queries());
    count(Count.BAD_LINES, pairs.statistics().badLines());
    count(Count.PASSAGES, passages.count());
    count(Count.DUPLICATE_PASSAGES, passages.duplicates());
    count(Count.BLANK_DOCUMENTS, passages.summary().blankIds().size());
    MiningReport report = new MiningReport(settings(), counts, dropped, recall);
    write(out, report);
    return report;
  }

  /** Returns what decided the result, by name. */
  private Map<String, String> settings() {
    Map<String, String> values = new LinkedHashMap<>();
    values.put("pairs", pairs.toString());
    values.put("collection", passages.corpus().name());
    values.put("collection sha256", passages.summary().digest());
    values.putAll(search.settings());
    values.putAll(miner.settings());
    return values;
  }

  private void count(Count what, long number) {
    counts.merge(what, number, Long::sum);
  }

  private static long characters(TrainingPair pair) {
    long characters = pair.query().length();
    for (List<String> texts : List.of(pair.positives(), pair.negatives())) {
      characters += texts.stream().mapToLong(String::length).sum();
    }
    return characters;
  }

  private void mineBatch(Searcher searcher) {
    if (batch.isEmpty()) {
      return;
    }
    Map<String, Integer> rows = new LinkedHashMap<>();
    batch.forEach(pair -> rows.computeIfAbsent(pair.query(), query -> rows.size()));
    List<Query> queries = searcher.prepare(rows.keySet().stream().map(Query::of).toList());
    int top = Math.min(miner.rules.to(), passages.count());
    if (chosen.isEmpty()) {
      recall = searcher.recall(queries, top);
    }
    List<Hits> hits = searcher.search(queries, top);
    List<Candidate> positives = new ArrayList<>();
    for (TrainingPair pair : batch) {
      Query query = queries.get(requireNonNull(rows.get(pair.query())));
      pair.positives().forEach(positive -> positives.add(candidate(query, positive)));
    }
    Iterator<OptionalDouble> scores =
        miner.rules.needPositives()
            ? searcher.score(positives).iterator()
            : List.<OptionalDouble>of().iterator();
    for (TrainingPair pair : batch) {
      mine(pair, hits.get(requireNonNull(rows.get(pair.query()))), scores);
      progress(Stage.SEARCH, chosen.size(), pairs.statistics().examples());
    }
    batch.clear();
    batchCharacters = 0;
  }

  private Candidate candidate(Query query, String positive) {
    int place = passages.placeOf(positive);
    count(Count.POSITIVES, 1);
    if (place < 0) {
      count(Count.POSITIVES_OUTSIDE, 1);
    } else {
      named.set(place);
    }
    return new Candidate(query, place, positive);
  }

  private void mine(TrainingPair pair, Hits hits, Iterator<OptionalDouble> scores) {
    Remaining remaining;
    try {
      remaining = filter.apply(hits, excluded(pair), bound(pair, scores));
    } catch (LlaraException e) {
      throw new LlaraException(pair.origin() + ": " + e.getMessage(), e);
    }
    List<HashCode> identity = new ArrayList<>();
    identity.add(PairTexts.key(pair.query()));
    pair.positives().forEach(positive -> identity.add(PairTexts.key(positive)));
    List<Integer> ranks =
        miner.sampling.choose(
            remaining.ranks(), miner.negatives, Sampling.seed(miner.seed, identity));
    chosen.add(hits.pick(ranks));
    int before = miner.keepNegatives ? pair.negatives().size() : 0;
    count(Count.FOUND, remaining.found());
    remaining.drops().forEach((reason, number) -> dropped.merge(reason, (long) number, Long::sum));
    count(Count.NOT_DRAWN, remaining.ranks().size() - ranks.size());
    count(Count.MINED, ranks.size());
    count(Count.KEPT, before);
    count(Count.PAIRS_WITH_FEWER, ranks.size() < miner.negatives ? 1 : 0);
    count(Count.PAIRS_WITHOUT_NEGATIVES, ranks.size() + before == 0 ? 1 : 0);
  }

  /** Returns the least score among a pair's positives: a negative must be worse than all. */
  private OptionalDouble bound(TrainingPair pair, Iterator<OptionalDouble> scores) {
    if (!miner.rules.needPositives()) {
      return OptionalDouble.empty();
    }
    OptionalDouble least = OptionalDouble.empty();
    for (int i = 0; i < pair.positives().size(); i++) {
      OptionalDouble score = scores.next();
      if (score.isEmpty()) {
        count(Count.POSITIVES_WITHOUT_SCORE, 1);
      } else if (Double.isNaN(score.getAsDouble())) {
        throw new LlaraException("the score of a positive is NaN; expected a number");
      } else if (least.isEmpty() || score.getAsDouble() < least.getAsDouble()) {
        least = score;
      }
    }
    count(Count.PAIRS_WITHOUT_MARGIN, least.isEmpty() ? 1 : 0);
    return least;
  }

  private Excluded excluded(TrainingPair pair) {
    int query = pairs.find(PairTexts.key(pair.query()));
    int[] kept = {};
    if (miner.keepNegatives) {
      kept = pair.negatives().stream().mapToInt(text -> pairs.find(PairTexts.key(text))).toArray();
      for (String negative : pair.negatives()) {
        int place = passages.placeOf(negative);
        if (place >= 0) {
          named.set(place);
        }
      }
    }
    return new Excluded(
        passages.textsOf(query),
        passages.textsOf(pairs.positivesOf(query)),
        passages.textsOf(kept));
  }

  private void write(Path out, MiningReport report) {
    BitSet places = new BitSet();
    chosen.forEach(hits -> hits.indices().forEach(place -> places.set((int) place)));
    try (PassageStore store =
        new PassageStore(
            passages, places, named, count -> progress(Stage.TEXTS, count, passages.count()))) {
      AtomicFiles.writeText(
          out,
          text -> {
            int[] written = new int[1];
            try {
              pairs.forEach(
                  pair -> {
                    try {
                      text.write(line(pair, chosen.get(written[0]++), store));
                    } catch (IOException e) {
                      throw new UncheckedIOException(e);
                    }
                    progress(Stage.WRITE, written[0], chosen.size());
                  });
            } catch (UncheckedIOException e) {
              throw e.getCause();
            }
            // Before the pairs get their name: where they are, the report on them is.
            AtomicFiles.writeJson(MiningReport.fileBeside(out), report.toJson());
          });
    }
  }

  /** Returns a line of the file. */
  private String line(TrainingPair pair, Hits mined, PassageStore store) {
    JsonArray positiveIds = new JsonArray();
    pair.positives().forEach(text -> positiveIds.add(id(text, store)));
    JsonArray negatives = new JsonArray();
    JsonArray ids = new JsonArray();
    JsonArray scores = new JsonArray();
    if (miner.keepNegatives) {
      for (String text : pair.negatives()) {
        negatives.add(text);
        ids.add(id(text, store));
        scores.add(JsonNull.INSTANCE);
      }
    }
    for (int i = 0; i < mined.size(); i++) {
      PassageStore.Stored stored = store.get((int) mined.indices().get(i));
      negatives.add(stored.text());
      ids.add(stored.id());
      scores.add(mined.scores().get(i));
    }
    JsonObject json = new JsonObject();
    json.addProperty("query", pair.query());
    json.add("pos", StrictJson.tree(pair.positives()));
    json.add("neg", negatives);
    json.add("pos_ids", positiveIds);
    json.add("neg_ids", ids);
    json.add("neg_scores", scores);
    return StrictJson.compact(json) + "\n";
  }

  /** Returns the id of a passage of the pairs, or null if it is not in the collection. */
  private @Nullable String id(String text, PassageStore store) {
    int place = passages.placeOf(text);
    return place < 0 ? null : store.get(place).id();
  }
}

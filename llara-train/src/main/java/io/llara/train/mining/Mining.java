package io.llara.train.mining;

import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import io.llara.retrieval.Corpus;
import io.llara.train.data.TrainingPair;
import io.llara.train.mining.CandidateFilter.Excluded;
import io.llara.train.mining.CandidateFilter.Remaining;
import io.llara.train.mining.MiningListener.Stage;
import io.llara.train.mining.Retriever.Answer;
import io.llara.train.mining.Retriever.Positive;
import io.llara.train.mining.Retriever.Question;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.EnumMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** One run of a {@link HardNegativeMiner}: counts what happens on the way. For one thread. */
final class Mining {
  /** Pairs that are searched for at once: a search may go over the whole collection each time. */
  private static final int BATCH_PAIRS = 4096;

  private static final long BATCH_CHARACTERS = 1 << 24;

  private final MiningSettings settings;
  private final MiningListener listener;
  private final PairTexts pairs;
  private final Passages passages;
  private final CandidateFilter filter;
  private final List<TrainingPair> batch = new ArrayList<>();
  private final Choices.Builder choices = new Choices.Builder();
  private final BitSet named = new BitSet();

  private long batchCharacters;
  private long done;
  private long found;
  private final Map<DropReason, Long> dropped = new EnumMap<>(DropReason.class);
  private long notDrawn;
  private long mined;
  private long kept;
  private long incomplete;
  private long without;
  private long positives;
  private long outside;
  private long unscored;
  private long unbounded;

  private Mining(MiningSettings settings, PairTexts pairs, Passages passages) {
    this.settings = settings;
    this.listener = settings.listener();
    this.pairs = pairs;
    this.passages = passages;
    this.filter = new CandidateFilter(settings.rules(), passages::text);
  }

  static MiningReport run(MiningSettings settings, Path out) {
    try (OwnPassages own = settings.corpus().isPresent() ? null : new OwnPassages()) {
      PairTexts pairs = readPairs(settings, own);
      Corpus corpus =
          own == null
              ? settings.corpus().orElseThrow()
              : own.corpus("the passages of " + settings.pairs());
      return new Mining(settings, pairs, readPassages(settings, corpus, pairs)).run(out);
    }
  }

  private static PairTexts readPairs(MiningSettings settings, @Nullable OwnPassages own) {
    long[] read = new long[1];
    return PairTexts.read(
        settings.pairs(),
        pair -> {
          requireGoingOn();
          if (own != null) {
            own.add(pair);
          }
          settings.listener().progress(Stage.PAIRS, ++read[0], -1);
        });
  }

  private static Passages readPassages(MiningSettings settings, Corpus corpus, PairTexts pairs) {
    Passages passages =
        Passages.read(
            corpus,
            pairs,
            (count, total) -> {
              requireGoingOn();
              settings.listener().progress(Stage.COLLECTION, count, total);
            });
    if (passages.count() <= settings.rules().from()) {
      throw new LlaraException(
          "%s: holds %d passages, none of them at the ranks %d to %d, the best being 0"
              .formatted(
                  corpus.name(),
                  passages.count(),
                  settings.rules().from(),
                  settings.rules().to() - 1));
    }
    return passages;
  }

  private MiningReport run(Path out) {
    long total = pairs.statistics().examples();
    OptionalDouble recall;
    try (Retriever retriever = settings.search().open(passages, listener)) {
      listener.progress(Stage.SEARCH, 0, total);
      pairs.forEach(
          pair -> {
            requireGoingOn();
            batch.add(pair);
            batchCharacters += characters(pair);
            if (batch.size() == BATCH_PAIRS || batchCharacters > BATCH_CHARACTERS) {
              mineBatch(retriever, total);
            }
          });
      mineBatch(retriever, total);
      recall = retriever.recall();
    }
    MiningReport report = report(recall);
    write(out, choices.build(), report);
    return report;
  }

  private static long characters(TrainingPair pair) {
    long characters = pair.query().length();
    for (List<String> texts : List.of(pair.positives(), pair.negatives())) {
      characters += texts.stream().mapToLong(String::length).sum();
    }
    return characters;
  }

  private void mineBatch(Retriever retriever, long total) {
    List<Question> questions = batch.stream().map(this::question).toList();
    int top = Math.min(settings.rules().to(), passages.count());
    List<Answer> answers = questions.isEmpty() ? List.of() : retriever.answer(questions, top);
    for (int i = 0; i < answers.size(); i++) {
      mine(batch.get(i), answers.get(i));
      listener.progress(Stage.SEARCH, ++done, total);
    }
    batch.clear();
    batchCharacters = 0;
  }

  private Question question(TrainingPair pair) {
    List<Positive> asked = new ArrayList<>();
    for (String positive : pair.positives()) {
      int place = placeOf(positive);
      positives++;
      if (place < 0) {
        outside++;
      } else {
        named.set(place);
      }
      if (settings.rules().needPositives()) {
        asked.add(new Positive(positive, place));
      }
    }
    return new Question(pair.query(), asked);
  }

  /** Returns the first place of a text of the pairs, or -1 if it is not in the collection. */
  private int placeOf(String text) {
    return passages.place(pairs.find(TextKey.of(text)));
  }

  private void mine(TrainingPair pair, Answer answer) {
    Remaining remaining;
    try {
      remaining = filter.apply(answer.hits(), excluded(pair), bound(answer));
    } catch (LlaraException e) {
      throw new LlaraException(pair.origin() + ": " + e.getMessage(), e);
    }
    List<TextKey> identity = new ArrayList<>();
    identity.add(TextKey.of(pair.query()));
    pair.positives().forEach(positive -> identity.add(TextKey.of(positive)));
    List<Candidate> chosen =
        settings
            .sampling()
            .choose(
                remaining.candidates(),
                settings.negatives(),
                Sampling.seed(settings.seed(), identity));
    choices.add(chosen);
    found += remaining.found();
    remaining.drops().forEach((reason, count) -> dropped.merge(reason, (long) count, Long::sum));
    notDrawn += remaining.candidates().size() - chosen.size();
    mined += chosen.size();
    int before = settings.keepNegatives() ? pair.negatives().size() : 0;
    kept += before;
    incomplete += chosen.size() < settings.negatives() ? 1 : 0;
    without += chosen.size() + before == 0 ? 1 : 0;
  }

  /** Returns the least score among a pair's positives: a negative must be worse than all. */
  private OptionalDouble bound(Answer answer) {
    double least = Double.POSITIVE_INFINITY;
    for (OptionalDouble score : answer.positives()) {
      if (score.isEmpty()) {
        unscored++;
      } else if (Double.isNaN(score.getAsDouble())) {
        throw new LlaraException("the score of a positive is NaN; expected a number");
      } else {
        least = Math.min(least, score.getAsDouble());
      }
    }
    if (!answer.positives().isEmpty() && least == Double.POSITIVE_INFINITY) {
      unbounded++;
    }
    return least == Double.POSITIVE_INFINITY ? OptionalDouble.empty() : OptionalDouble.of(least);
  }

  private Excluded excluded(TrainingPair pair) {
    int query = pairs.find(TextKey.of(pair.query()));
    Set<Integer> own = new HashSet<>();
    passages.addTexts(query, own);
    Set<Integer> known = new HashSet<>();
    for (int positive : pairs.positivesOf(query)) {
      passages.addTexts(positive, known);
    }
    Set<Integer> already = new HashSet<>();
    if (settings.keepNegatives()) {
      for (String negative : pair.negatives()) {
        passages.addTexts(pairs.find(TextKey.of(negative)), already);
        int place = placeOf(negative);
        if (place >= 0) {
          named.set(place);
        }
      }
    }
    return new Excluded(own, known, already);
  }

  private MiningReport report(OptionalDouble recall) {
    return new MiningReport(
        settings.described(passages),
        pairs.statistics().examples(),
        pairs.queries(),
        pairs.statistics().badLines(),
        passages.count(),
        passages.duplicates(),
        passages.summary().blankIds().size(),
        found,
        dropped,
        notDrawn,
        mined,
        kept,
        incomplete,
        without,
        positives,
        outside,
        unscored,
        unbounded,
        recall);
  }

  private void write(Path out, Choices chosen, MiningReport report) {
    try (PassageStore store =
        PassageStore.of(
            passages,
            chosen.places(),
            named,
            count -> {
              requireGoingOn();
              listener.progress(Stage.TEXTS, count, passages.count());
            })) {
      MinedPairs.write(
          out,
          lines -> {
            int[] written = new int[1];
            pairs.forEach(
                pair -> {
                  requireGoingOn();
                  lines.add(
                      pair, passages(pair, store), negatives(pair, written[0], chosen, store));
                  written[0]++;
                  listener.progress(Stage.WRITE, written[0], report.pairs());
                });
            // Before the pairs get their name: where they are, the report on them is.
            AtomicFiles.writeJson(MiningReport.fileBeside(out), report.toJson());
          });
    }
  }

  private List<MinedPairs.Passage> passages(TrainingPair pair, PassageStore store) {
    return pair.positives().stream().map(text -> given(text, store)).toList();
  }

  private List<MinedPairs.Passage> negatives(
      TrainingPair pair, int index, Choices chosen, PassageStore store) {
    List<MinedPairs.Passage> negatives = new ArrayList<>();
    if (settings.keepNegatives()) {
      pair.negatives().forEach(text -> negatives.add(given(text, store)));
    }
    for (int i = chosen.begin(index); i < chosen.end(index); i++) {
      PassageStore.Stored stored = store.get(chosen.place(i));
      negatives.add(new MinedPairs.Passage(stored.text(), stored.id(), chosen.score(i)));
    }
    return negatives;
  }

  private MinedPairs.Passage given(String text, PassageStore store) {
    int place = placeOf(text);
    return new MinedPairs.Passage(text, place < 0 ? null : store.get(place).id(), null);
  }

  private static void requireGoingOn() {
    if (Thread.currentThread().isInterrupted()) {
      throw new LlaraException("the mining was interrupted; nothing was written");
    }
  }
}

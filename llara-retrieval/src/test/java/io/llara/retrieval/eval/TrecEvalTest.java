package io.llara.retrieval.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.lifecycle.AfterTry;
import net.jqwik.api.lifecycle.BeforeTry;
import org.junit.jupiter.api.Assumptions;
import uk.ac.gla.terrier.jtreceval.trec_eval;

/** Our numbers beside those of NIST's trec_eval 9.0.4, whose binary jtreceval brings. */
class TrecEvalTest {
  /** It prints four digits. */
  private static final double PRINTED = 0.5e-4 + 1e-9;

  private static final List<Integer> CUTOFFS = List.of(1, 3, 5, 10, 100);
  private static final String EACH = ".1,3,5,10,100";

  /** In UTF-8 they sort otherwise than in UTF-16, and otherwise than as numbers. */
  private static final List<String> ENDINGS =
      List.of("", "0", "00", "A", "a", "é", "\uFFFD", "\uD83D\uDE00");

  private Path folder = Path.of("");

  @BeforeTry
  void createFolder() throws IOException {
    folder = Files.createTempDirectory("llara-trec-eval");
  }

  @AfterTry
  void deleteFolder() throws IOException {
    for (String name : List.of("qrels", "run")) {
      Files.deleteIfExists(folder.resolve(name));
    }
    Files.delete(folder);
  }

  @Property(tries = 25)
  void equalsOurs(@ForAll long seed) throws IOException {
    Assumptions.assumeTrue(trec_eval.isPlatformSupported(), "no trec_eval for this system");
    Random random = new Random(seed);
    Qrels qrels = qrels(random);
    Run run = run(random);
    run.write(folder.resolve("run"));
    Evaluation ours = Evaluation.of(run, qrels, Metric.all(CUTOFFS));

    Map<String, Map<String, Double>> theirs =
        trecEval(
            qrels,
            "-q -c -m num_q -m map -m ndcg_cut%s -m recall%s -m P%s".formatted(EACH, EACH, EACH));
    assertThat(theirs.get("num_q").get("all")).isEqualTo(qrels.queryIds().size());
    compare(ours, Metric.map(), theirs.get("map"));
    for (int k : CUTOFFS) {
      compare(ours, Metric.ndcg(k), theirs.get("ndcg_cut_" + k));
      compare(ours, Metric.recall(k), theirs.get("recall_" + k));
      compare(ours, Metric.precision(k), theirs.get("P_" + k));
    }
    int k = CUTOFFS.get(random.nextInt(CUTOFFS.size()));
    compare(
        ours,
        Metric.mrr(k),
        trecEval(qrels, "-q -c -M %d -m recip_rank".formatted(k)).get("recip_rank"));
  }

  private static void compare(Evaluation ours, Metric metric, Map<String, Double> theirs) {
    for (int i = 0; i < ours.queryIds().size(); i++) {
      String query = ours.queryIds().get(i);
      // It prints nothing for a query without results, and lets it count 0.
      assertThat(ours.values(metric).get(i))
          .as("%s of %s", metric.label(), query)
          .isCloseTo(theirs.getOrDefault(query, 0.0), within(PRINTED));
    }
    assertThat(ours.mean(metric))
        .as("mean %s", metric.label())
        .isCloseTo(theirs.get("all"), within(PRINTED));
  }

  /** Some queries are not in the run, some have no relevant document, some only bad grades. */
  private static Qrels qrels(Random random) {
    Map<String, Map<String, Integer>> grades = new LinkedHashMap<>();
    int queries = 1 + random.nextInt(10);
    for (int query = 0; query < queries; query++) {
      Map<String, Integer> judged = new LinkedHashMap<>();
      int highest = random.nextInt(5);
      for (String document : documents(random)) {
        judged.put(document, random.nextInt(highest + 2) - 1);
      }
      // It refuses a query whose grades are all negative.
      judged.merge(documents(random).get(0), 0, Math::max);
      grades.put("q" + query, judged);
    }
    return Qrels.of(grades);
  }

  /** Many scores are equal; the first query is always there, as it refuses an empty run. */
  private static Run run(Random random) {
    Map<String, Ranking> rankings = new TreeMap<>();
    for (int query = 0; query < 12; query++) {
      if (query == 0 || random.nextInt(4) > 0) {
        boolean ties = random.nextBoolean();
        List<ScoredDocument> found = new ArrayList<>();
        for (String document : documents(random)) {
          float score = ties ? random.nextInt(3) - 1 : 10 * random.nextFloat();
          // Neighbours that a double tells apart and a float does not.
          found.add(new ScoredDocument(document, (float) (score + 1e-9 * random.nextInt(3))));
        }
        rankings.put("q" + query, new Ranking(found));
      }
    }
    return new Run("ours", rankings);
  }

  private static List<String> documents(Random random) {
    List<String> ids = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      for (String ending : ENDINGS) {
        ids.add("d" + i + ending);
      }
    }
    Collections.shuffle(ids, random);
    return ids.subList(0, 1 + random.nextInt(ids.size()));
  }

  /** Returns values by measure and query. */
  private Map<String, Map<String, Double>> trecEval(Qrels qrels, String options)
      throws IOException {
    StringBuilder lines = new StringBuilder();
    for (String query : qrels.queryIds()) {
      qrels
          .grades(query)
          .forEach(
              (document, grade) -> lines.append("%s 0 %s %d\n".formatted(query, document, grade)));
    }
    Files.writeString(folder.resolve("qrels"), lines);
    List<String> arguments = new ArrayList<>(Arrays.asList(options.split(" ")));
    arguments.add(folder.resolve("qrels").toString());
    arguments.add(folder.resolve("run").toString());
    trec_eval program = new trec_eval();
    String[][] output = program.runAndGetOutput(arguments.toArray(String[]::new));
    assertThat(program.getLastExitCode()).isZero();
    Map<String, Map<String, Double>> values = new TreeMap<>();
    for (String[] line : output) {
      values
          .computeIfAbsent(line[0], measure -> new TreeMap<>())
          .put(line[1], Double.valueOf(line[2]));
    }
    return values;
  }
}

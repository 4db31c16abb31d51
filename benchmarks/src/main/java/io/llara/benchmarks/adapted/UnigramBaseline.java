package io.llara.benchmarks.adapted;

import com.google.common.primitives.ImmutableIntArray;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.prompt.Reserve;
import io.llara.tokenize.Tokenizer;
import io.llara.train.data.Collator;
import io.llara.train.data.Dataset;
import io.llara.train.data.DatasetReader;
import io.llara.train.data.Example;
import io.llara.train.data.PassageSplitter;
import io.llara.train.data.ShuffleBuffer;
import io.llara.train.data.StopWords;
import io.llara.train.data.TextFormat;
import io.llara.train.data.TrainingText;
import io.llara.train.pretrain.Bag;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;

/**
 * What a model would lose on the held-out targets of EBAE and EBAR if it knew nothing of the text
 * and predicted each token as often as it is a target in the training texts (add-one smoothing): a
 * model that reads its texts must do better. Settings as those of {@code llara pretrain} with the
 * recipe {@code released}.
 *
 * <pre>{@code
 * UnigramBaseline MODEL_DIR MAX_TOKENS HELD_OUT TEXTS.jsonl.gz…
 * }</pre>
 */
public final class UnigramBaseline {
  private static final int TRAINING_TEXTS = 30_000;
  private static final int HELD_OUT_TEXTS = 256;
  private static final int BUFFER = 4096;

  private UnigramBaseline() {}

  /** Counts, compares and prints. */
  public static void main(String[] args) {
    if (args.length < 4) {
      System.err.println("usage: UnigramBaseline MODEL_DIR MAX_TOKENS HELD_OUT TEXTS.jsonl.gz...");
      System.exit(2);
    }
    int maxTokens = Integer.parseInt(args[1]);
    double heldOut = Double.parseDouble(args[2]);
    List<Path> files = Arrays.stream(args).skip(3).map(Path::of).toList();
    try (Tokenizer tokenizer = Tokenizer.load(Path.of(args[0]))) {
      PromptBuilder prompts =
          PromptBuilder.create(PromptTemplate.LLAMA2VEC, tokenizer)
              .withReserve(Reserve.BOTH_SUFFIXES);
      Collator collator = Collator.joint(prompts, tokenizer, maxTokens);
      Dataset<TrainingText> all =
          Dataset.ofTexts(
              files,
              new TextFormat(
                  Optional.of(
                      new PassageSplitter(tokenizer, maxTokens - prompts.minimumTokens() + 1)),
                  Optional.of(StopWords.english()),
                  false));
      double[] counts = new double[tokenizer.vocabularySize()];
      double total = counts.length;
      Arrays.fill(counts, 1);
      try (DatasetReader<TrainingText> texts = all.heldOut(heldOut, false).open()) {
        for (int i = 0; i < TRAINING_TEXTS && texts.hasNext(); i++) {
          Bag bag = Bag.ofSet(collator.example(texts.next()).selfTargets().toArray());
          for (int t = 0; t < bag.size(); t++) {
            counts[bag.id(t)]++;
            total++;
          }
        }
      }
      double counted = total;
      for (boolean self : new boolean[] {true, false}) {
        Function<Example, ImmutableIntArray> targets =
            self ? Example::selfTargets : Example::nextTargets;
        double loss = loss(all.heldOut(heldOut, true), collator, targets, counts, counted);
        System.out.printf(
            "%s: %.4f nats a target, %.4f divided by ten%n",
            self ? "SELF" : "NEXT", loss, loss / 10);
      }
    }
  }

  private static double loss(
      Dataset<TrainingText> heldOut,
      Collator collator,
      Function<Example, ImmutableIntArray> targets,
      double[] counts,
      double total) {
    double sum = 0;
    int bags = 0;
    // The same texts as a run evaluates.
    try (ShuffleBuffer<TrainingText> texts = new ShuffleBuffer<>(heldOut, BUFFER, 0, 1)) {
      for (int i = 0; i < HELD_OUT_TEXTS && texts.hasNext(); i++) {
        Bag bag = Bag.ofSet(targets.apply(collator.example(texts.next())).toArray());
        if (!bag.isEmpty()) {
          bags++;
          for (int t = 0; t < bag.size(); t++) {
            sum -= bag.weight(t) * Math.log(counts[bag.id(t)] / total);
          }
        }
      }
    }
    return sum / bags;
  }
}

package io.llara.benchmarks.adapted;

import io.llara.ComputeType;
import io.llara.Mode;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.engine.EncodingEngine;
import io.llara.engine.EngineBuilder;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.tokenize.Tokenizer;
import io.llara.train.data.StopWords;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * The ten tokens that the SELF embedding of a text holds for likeliest, through the projection on
 * the vocabulary, for several models side by side; tokens that the text's words are made of are
 * bold. Prints Markdown.
 *
 * <pre>{@code
 * PredictedTokens TEXT[;TEXT…] MODEL_DIR…
 * }</pre>
 */
public final class PredictedTokens {
  private static final int LIKELIEST = 10;
  private static final int MAX_TOKENS = 256;

  private PredictedTokens() {}

  /** Computes the tables and prints them. */
  public static void main(String[] args) {
    if (args.length < 2) {
      System.err.println("usage: PredictedTokens TEXT[;TEXT...] MODEL_DIR...");
      System.exit(2);
    }
    List<Path> models = Arrays.stream(args).skip(1).map(Path::of).toList();
    for (String text : args[0].split(";")) {
      System.out.printf(
          "> %s%n%n| model | ten likeliest tokens of the SELF embedding |%n|---|---|%n", text);
      for (Path model : models) {
        System.out.printf("| %s | %s |%n", model.getFileName(), predict(model, text));
      }
      System.out.println();
    }
  }

  private static String predict(Path model, String text) {
    EngineBuilder options =
        EncodingEngine.builder().computeType(ComputeType.FLOAT32).threads(1).maxTokens(MAX_TOKENS);
    try (Tokenizer tokenizer = Tokenizer.load(model);
        EncodingEngine engine = options.open(CheckpointDirectory.open(model))) {
      Prompt prompt =
          PromptBuilder.create(PromptTemplate.LLAMA2VEC, tokenizer)
              .build(text, Mode.SELF, MAX_TOKENS);
      float[] hidden = engine.hiddenStates(List.of(prompt)).get(0);
      int width = engine.config().hiddenSize();
      float[] markers =
          Arrays.copyOfRange(
              hidden, prompt.pooledSelf().begin() * width, prompt.pooledSelf().end() * width);
      float[] logits = largest(engine.logits(markers), engine.config().vocabularySize());
      Set<Integer> targets =
          Arrays.stream(tokenizer.encodeText(StopWords.english().strip(text)))
              .boxed()
              .collect(Collectors.toSet());
      return IntStream.range(0, logits.length)
          .boxed()
          .sorted(Comparator.comparing((Integer id) -> -logits[id]))
          .limit(LIKELIEST)
          .map(id -> (targets.contains(id) ? "**%s**" : "%s").formatted(shown(tokenizer, id)))
          .collect(Collectors.joining(" · "));
    }
  }

  private static String shown(Tokenizer tokenizer, int id) {
    String token = tokenizer.decode(new int[] {id}).strip();
    return (token.isEmpty() ? tokenizer.token(id) : token)
        .replace("|", "\\|")
        .replace("*", "\\*")
        .replace("\n", "⏎")
        .replace("<", "&lt;");
  }

  private static float[] largest(float[] logits, int vocabulary) {
    float[] largest = Arrays.copyOf(logits, vocabulary);
    for (int i = vocabulary; i < logits.length; i++) {
      largest[i % vocabulary] = Math.max(largest[i % vocabulary], logits[i]);
    }
    return largest;
  }
}

package io.llara.benchmarks.imported;

import io.llara.ComputeType;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.engine.EncodingEngine;
import io.llara.engine.EngineBuilder;
import io.llara.prompt.Prompt;
import io.llara.tokenize.Tokenizer;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Writes the token ids and the final hidden states of texts into a safetensors file, for another
 * program to compare with its own: tensors {@code ids.N} and {@code hidden.N}, {@code [tokens]} and
 * {@code [tokens, hidden]}. The texts are the hundred written ones and every tenth shared one.
 *
 * <pre>{@code
 * HiddenStates MODEL_DIR SHARED_TEXT_FOLDER OUT.safetensors
 * }</pre>
 */
public final class HiddenStates {
  private static final int MOST_TOKENS = 512;

  private HiddenStates() {}

  /** Writes the file. */
  public static void main(String[] args) throws IOException {
    if (args.length != 3) {
      System.err.println("usage: HiddenStates MODEL_DIR SHARED_TEXT_FOLDER OUT.safetensors");
      System.exit(2);
    }
    Path model = Path.of(args[0]);
    List<Prompt> prompts = new ArrayList<>();
    try (Tokenizer tokenizer = Tokenizer.load(model)) {
      for (String text : texts(Path.of(args[1]))) {
        int[] ids = tokenizer.encodeText(text);
        prompts.add(Prompt.plain(ids.length > MOST_TOKENS ? Arrays.copyOf(ids, MOST_TOKENS) : ids));
      }
    }
    CheckpointDirectory checkpoint = CheckpointDirectory.open(model);
    EngineBuilder options =
        EncodingEngine.builder().computeType(ComputeType.FLOAT32).threads(1).maxTokens(MOST_TOKENS);
    SafetensorsWriter writer = new SafetensorsWriter();
    int tokens = 0;
    try (EncodingEngine engine = options.open(checkpoint)) {
      List<float[]> hidden = engine.hiddenStates(prompts);
      for (int i = 0; i < prompts.size(); i++) {
        int[] ids = prompts.get(i).ids();
        tokens += ids.length;
        writer.add("ids." + i, StorageType.I32, new long[] {ids.length}, out -> write(ids, out));
        long[] shape = {ids.length, checkpoint.config().hiddenSize()};
        writer.add("hidden." + i, StorageType.F32, shape, hidden.get(i));
      }
    }
    writer.write(Path.of(args[2]));
    System.out.printf("%d texts, %d tokens%n", prompts.size(), tokens);
  }

  private static List<String> texts(Path folder) throws IOException {
    List<String> texts = new ArrayList<>(ComparedTexts.written());
    List<String> shared = ComparedTexts.shared(folder);
    for (int i = 0; i < shared.size(); i += 10) {
      texts.add(shared.get(i));
    }
    return texts;
  }

  private static void write(int[] ids, WritableByteChannel out) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(ids.length * 4).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asIntBuffer().put(ids);
    out.write(bytes);
  }
}

package io.llara.examples.golden;

import com.google.gson.JsonObject;
import io.llara.ComputeType;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.engine.EncodingEngine;
import io.llara.io.AtomicFiles;
import io.llara.io.StrictJson;
import io.llara.io.TemporaryPath;
import io.llara.tokenize.Tokenizer;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The checkpoints of a golden folder, each loaded when a case first asks for it. Not thread-safe;
 * closing it closes all of them.
 */
public final class ReplayEngines implements AutoCloseable {
  /** A batch of the reference stays one packed batch: one lane that takes all of its rows. */
  private static final int BATCH_TOKENS = 1 << 16;

  private final ComputeType computeType;
  private final String device;
  private final Map<List<Object>, EncodingEngine> engines = new LinkedHashMap<>();
  private final Map<Path, Tokenizer> tokenizers = new LinkedHashMap<>();

  /**
   * Creates an empty collection.
   *
   * @param computeType the type all of them compute in, not {@code AUTO}
   * @param device the device of all of them, such as {@code cpu}
   */
  public ReplayEngines(ComputeType computeType, String device) {
    this.computeType = computeType;
    this.device = device;
  }

  String device() {
    return device;
  }

  ComputeType computeType() {
    return computeType;
  }

  /**
   * Returns what a case runs on.
   *
   * @param checkpoint the directory of the checkpoint
   * @param adapter the directory of a LoRA adapter to merge
   * @param override keys that replace those of {@code config.json}
   * @param maxTokens the longest prompt
   */
  EncodingEngine engine(
      Path checkpoint, Optional<Path> adapter, Optional<JsonObject> override, int maxTokens) {
    return engines.computeIfAbsent(
        List.of(checkpoint, adapter, override, maxTokens),
        key -> {
          CheckpointDirectory directory = CheckpointDirectory.open(checkpoint);
          LlamaConfig config =
              override
                  .filter(keys -> keys.size() > 0)
                  .map(keys -> overridden(checkpoint, keys))
                  .orElseGet(directory::config);
          return EncodingEngine.builder()
              .computeType(computeType)
              .device(device)
              .threads(1)
              .batchTokens(BATCH_TOKENS)
              .maxTokens(maxTokens)
              .adapter(adapter.orElse(null))
              .open(directory, config);
        });
  }

  /** Returns the tokenizer of a checkpoint. */
  Tokenizer tokenizer(Path checkpoint) {
    return tokenizers.computeIfAbsent(checkpoint, Tokenizer::load);
  }

  /** Reads a configuration with some keys replaced, through the one reader there is. */
  private static LlamaConfig overridden(Path checkpoint, JsonObject keys) {
    JsonObject merged = StrictJson.modelFile(checkpoint.resolve("config.json")).json();
    keys.entrySet().forEach(entry -> merged.add(entry.getKey(), entry.getValue()));
    try (TemporaryPath copy = TemporaryPath.file("llara-config")) {
      AtomicFiles.writeJson(copy.path(), merged);
      return LlamaConfig.read(copy.path());
    }
  }

  @Override
  public void close() {
    engines.values().forEach(EncodingEngine::close);
    engines.clear();
    tokenizers.values().forEach(Tokenizer::close);
    tokenizers.clear();
  }
}

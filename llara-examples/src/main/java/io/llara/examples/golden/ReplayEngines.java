package io.llara.examples.golden;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import io.llara.ComputeType;
import io.llara.LlaraException;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaConfig;
import io.llara.engine.EncodingEngine;
import io.llara.io.TemporaryPath;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
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
  private final Map<Request, EncodingEngine> engines = new LinkedHashMap<>();

  /**
   * What a case wants to run on.
   *
   * @param checkpoint the directory of the checkpoint
   * @param adapter the directory of a LoRA adapter to merge
   * @param override keys that replace those of {@code config.json}
   * @param maxTokens the longest prompt
   */
  record Request(
      Path checkpoint, Optional<Path> adapter, Optional<JsonObject> override, int maxTokens) {}

  /**
   * Creates an empty collection.
   *
   * @param computeType the type all of them compute in, not {@code AUTO}
   */
  public ReplayEngines(ComputeType computeType) {
    this.computeType = computeType;
  }

  ComputeType computeType() {
    return computeType;
  }

  EncodingEngine engine(Request request) {
    EncodingEngine engine = engines.get(request);
    if (engine == null) {
      engine = open(request);
      engines.put(request, engine);
    }
    return engine;
  }

  private EncodingEngine open(Request request) {
    CheckpointDirectory checkpoint = CheckpointDirectory.open(request.checkpoint());
    LlamaConfig config =
        request
            .override()
            .filter(keys -> keys.size() > 0)
            .map(keys -> overridden(request.checkpoint(), keys))
            .orElseGet(checkpoint::config);
    return EncodingEngine.builder()
        .computeType(computeType)
        .threads(1)
        .batchTokens(BATCH_TOKENS)
        .maxTokens(request.maxTokens())
        .adapter(request.adapter().orElse(null))
        .open(checkpoint, config);
  }

  /** Reads a configuration with some keys replaced, through the one reader there is. */
  private static LlamaConfig overridden(Path checkpoint, JsonObject keys) {
    Path original = checkpoint.resolve("config.json");
    try {
      JsonObject merged = JsonParser.parseString(Files.readString(original)).getAsJsonObject();
      for (Map.Entry<String, JsonElement> entry : keys.entrySet()) {
        merged.add(entry.getKey(), entry.getValue());
      }
      try (TemporaryPath copy = TemporaryPath.file("llara-config")) {
        Files.writeString(copy.path(), merged.toString());
        return LlamaConfig.read(copy.path());
      }
    } catch (IOException | JsonParseException | IllegalStateException e) {
      throw new LlaraException(
          "%s: the configuration cannot be read: %s".formatted(original, e.getMessage()), e);
    }
  }

  @Override
  public void close() {
    engines.values().forEach(EncodingEngine::close);
    engines.clear();
  }
}

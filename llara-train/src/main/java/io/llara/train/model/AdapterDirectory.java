package io.llara.train.model;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.LlaraException;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.checkpoint.TensorEntry;
import io.llara.io.AtomicFiles;
import io.llara.io.StrictJson;
import io.llara.model.StoredTensors;
import io.llara.tensor.TensorScope;
import io.llara.train.autograd.Parameter;
import io.llara.train.lora.LoraOptions;
import io.llara.train.model.TrainedModel.TrainedParts;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * Writes what LoRA trained as an adapter of the PEFT library: {@code adapter_model.safetensors} and
 * {@code adapter_config.json} (its format as of version 0.11; later ones read it). The factors are
 * float32.
 *
 * <p>PEFT looks tensors up by their path in the base, which is {@code model.layers…} in a {@code
 * LlamaForCausalLM} and {@code layers…} in a {@code LlamaModel}, and leaves out those that it does
 * not find. Each tensor is therefore there under both names: PEFT, and transformers' {@code
 * load_adapter}, then give the trained model on either class.
 *
 * <p>Rows of the embedding matrix that trained too are no part of LoRA. The adapter then brings the
 * whole matrix, in the model's own type, as a module to save: with its base it is the trained model
 * in any case.
 */
public final class AdapterDirectory {
  private static final String WEIGHTS = "adapter_model.safetensors";
  private static final String CONFIG = "adapter_config.json";

  /** The path to the decoder in an adapted {@code LlamaForCausalLM} and {@code LlamaModel}. */
  private static final List<String> PREFIXES =
      List.of("base_model.model.model.", "base_model.model.");

  /** What PEFT expects, in its order; null where the adapter's own value goes, too. */
  private static final String CONFIG_TEMPLATE =
      """
      {"alpha_pattern": {}, "auto_mapping": null, "base_model_name_or_path": null, "bias": "none",
       "fan_in_fan_out": false, "inference_mode": true, "init_lora_weights": true,
       "layers_pattern": null, "layers_to_transform": null, "lora_alpha": null,
       "lora_dropout": null, "modules_to_save": null, "peft_type": "LORA", "r": null,
       "rank_pattern": {}, "revision": null, "target_modules": null,
       "task_type": "FEATURE_EXTRACTION", "use_dora": false, "use_rslora": false}
      """;

  private AdapterDirectory() {}

  /**
   * Writes an adapter, in place of one that is there; other files stay. The configuration comes
   * last: until it is there, the directory is not an adapter.
   *
   * @param model trained with LoRA
   * @param lora how
   * @param base the checkpoint that it was made from, which the adapter names
   * @throws LlaraException if it cannot be written
   */
  public static void write(TrainedModel model, LoraOptions lora, Path base, Path dir) {
    write(model, config(lora), base, dir);
  }

  /**
   * Writes an adapter that was trained further, as {@link #write}; its settings stay.
   *
   * @param before the adapter's directory
   * @param dropout what it was trained with now
   */
  public static void writeContinued(
      TrainedModel model, Path before, double dropout, Path base, Path dir) {
    JsonObject config = StrictJson.modelFile(before.resolve(CONFIG)).json();
    config.addProperty("inference_mode", true);
    config.addProperty("lora_dropout", dropout);
    write(model, config, base, dir);
  }

  private static void write(TrainedModel model, JsonObject config, Path base, Path dir) {
    try {
      Files.createDirectories(dir);
      Files.deleteIfExists(dir.resolve(CONFIG));
      Files.deleteIfExists(dir.resolve(WEIGHTS));
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be created: %s".formatted(dir, e), e);
    }
    boolean rows = model.parameter(TrainedParts.ROWS).isPresent();
    SafetensorsWriter writer = new SafetensorsWriter();
    for (Parameter parameter : model.parameters()) {
      if (!parameter.name().equals(TrainedParts.ROWS)) {
        add(writer, parameter);
      }
    }
    try (MergedWeights weights = model.weights()) {
      if (rows) {
        addEmbedding(writer, model.storedEmbedding(), weights);
      }
      writer.write(dir.resolve(WEIGHTS));
    }
    config.addProperty("base_model_name_or_path", base.toAbsolutePath().normalize().toString());
    if (rows) {
      String embedding = LlamaTensors.EMBEDDING.replaceFirst("\\.weight$", "");
      config.add("modules_to_save", StrictJson.tree(List.of(embedding)));
    }
    AtomicFiles.writeJson(dir.resolve(CONFIG), config);
  }

  private static void add(SafetensorsWriter writer, Parameter parameter) {
    for (String prefix : PREFIXES) {
      writer.add(
          prefix + parameter.name(),
          StorageType.F32,
          parameter.master().shape(),
          StoredTensors.content(parameter.master(), StorageType.F32));
    }
  }

  private static void addEmbedding(
      SafetensorsWriter writer, TensorEntry stored, MergedWeights weights) {
    SafetensorsWriter.Content content =
        out -> {
          try (TensorScope scope = new TensorScope()) {
            StoredTensors.content(weights.weight(LlamaTensors.EMBEDDING), stored.type())
                .writeTo(out);
          }
        };
    for (String prefix : PREFIXES) {
      writer.add(prefix + LlamaTensors.EMBEDDING, stored.type(), stored.shape(), content);
    }
  }

  private static JsonObject config(LoraOptions lora) {
    JsonObject json = JsonParser.parseString(CONFIG_TEMPLATE).getAsJsonObject();
    json.addProperty("lora_alpha", lora.alpha());
    json.addProperty("lora_dropout", lora.dropout());
    json.addProperty("r", lora.rank());
    json.add("target_modules", StrictJson.tree(lora.targets().stream().sorted().toList()));
    return json;
  }
}

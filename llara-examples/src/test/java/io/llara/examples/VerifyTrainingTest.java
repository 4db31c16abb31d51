package io.llara.examples;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.DoubleUnaryOperator;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What {@code verify} makes of changed copies of the reference's training. */
@Tag("slow")
class VerifyTrainingTest {
  @TempDir private Path folder;

  @Test
  void replaysWithoutThePromptsFile() throws IOException {
    Path copy =
        VerifyCommandTest.copy(folder, "llama-mha", "losses", "trajectory", "contrastive", "lora");
    Path lora = copy.resolve("lora.json");
    edit(lora, json -> json.add("cases", new JsonArray()));
    CommandRun run = CommandRun.of("verify", copy.toString());
    assertThat(run.lines()).hasSize(13).noneMatch(line -> line.contains("FAIL"));
    assertThat(run.out()).contains("trajectory.json trajectory: pass");
    assertThat(VerifyCommandTest.last(run)).isEqualTo("verified 12 cases, 0 failed, 0 not covered");
    assertThat(run.code()).isZero();
  }

  @ParameterizedTest
  @CsvSource({
    "0, query/input_ids/0/40, 3, query input_ids",
    "0, query/input_ids/1/40, 3, query input_ids",
    "0, passage/input_ids/5/90, 3, passage input_ids",
    "0, passage/attention_mask/1/0, 1, passage attention_mask",
    "0, targets/1, 5, targets",
    "0, query_max_len, 60, query input_ids",
    "0, passage_max_len, 90, passage input_ids",
    "0, effective_temperature, 0.025, scores",
    "1, scalars_f64/loss, 6.0878, loss",
    "1, scalars_f64/scores/1/3, 3, scores",
    "1, scalars_f64/eval_scores/2/11, 0.5, eval_scores",
    "1, grads_f64/model.norm.weight/norm, 3, model.norm.weight norm",
    "1, grads_f64/model.embed_tokens.weight/sample/3, 3, model.embed_tokens.weight sample",
    "2, scalars_f64/loss, 2.94715, loss",
    "2, effective_temperature, 0.02, scores",
  })
  void failsWhereANumberOfTheContrastiveCasesIsChanged(
      int number, String place, double value, String quantity) throws IOException {
    Path copy = VerifyCommandTest.copy(folder, "llama-mha", "contrastive");
    edit(
        copy.resolve("contrastive.json"),
        json -> {
          JsonArray one = new JsonArray();
          one.add(json.getAsJsonArray("cases").get(number));
          json.add("cases", one);
          set(one.get(0), place, value);
        });
    assertFails(copy, "verified 1 cases, 1 failed, 0 not covered", quantity);
  }

  @Test
  void subBatchesOfAnySizeAndOtherSourcesOfACase() throws IOException {
    Path copy = VerifyCommandTest.copy(folder, "llama-mha", "contrastive");
    Path file = copy.resolve("contrastive.json");
    edit(
        file,
        json -> {
          for (int i = 0; i < 3; i++) {
            set(json.getAsJsonArray("cases").get(i), "sub_batch_size", 2 * i + 1);
          }
        });
    assertThat(CommandRun.of("verify", copy.toString()).code()).isZero();
    edit(file, json -> set(json, "source/0/neg/1/3", 3));
    assertFails(copy, "verified 3 cases, 3 failed, 0 not covered", "passage input_ids");
    edit(file, json -> json.getAsJsonArray("source").remove(2));
    LlaraTest.assertRefused(CommandRun.of("verify", copy.toString()), "2 entries of source");
  }

  @ParameterizedTest
  @CsvSource({
    "training/steps/4/scalars_f64/loss, 0.1, step 5 loss",
    "training/temperature, 0.03, step 1 loss",
    "training/query/input_ids/1/2, 3, step 1 loss",
    "training/passage/attention_mask/0/0, 1, passage",
    "training/optimizer/lr, 1.1e-3, final/",
    "training/optimizer/weight_decay, 0.01, final/",
    "training/optimizer/grad_clip, 0.00001, final/",
  })
  void failsWhereANumberOfTheAdaptersTrainingIsChanged(String place, double value, String quantity)
      throws IOException {
    Path copy = VerifyCommandTest.copy(folder, "llama-mha", "lora");
    edit(
        copy.resolve("lora.json"),
        json -> {
          json.add("cases", new JsonArray());
          set(json, place, value);
        });
    assertFails(copy, "verified 1 cases, 1 failed, 0 not covered", quantity);
  }

  @ParameterizedTest
  @CsvSource({
    "batch/input_ids/1/87, 32014, input_ids",
    "batch/input_ids/0/0, 3, input_ids",
    "batch/attention_mask/1/0, 1, attention_mask",
    "batch/labels/1/40, 3, labels",
    "batch/labels/1/50, -100, labels",
    "batch/output_summarize_ids/0/9, 3, output_summarize_ids",
    "batch/output_predict_ids/1/4, 3, output_predict_ids",
    "texts/2/1, 3, input_ids",
    "cutoff_len, 60, input_ids",
    "pad_to_multiple_of, 32, input_ids",
    "scalars_f64/loss, 12.78555, loss",
    "scalars_f64/ar_loss, 11.68832, ar_loss",
    "scalars_f64/bow_summarize_loss, 1.112827, bow_summarize_loss",
    "scalars_f64/bow_predict_loss, 1.081639, bow_predict_loss",
    "scalars_f64/global_grad_norm, 8.281, global_grad_norm",
    "grads_f64/lm_head.weight/norm, 0.8230, lm_head.weight norm",
    "grads_f64/model.norm.weight/abs_max, 0.1079, model.norm.weight abs_max",
    "grads_f64/model.embed_tokens.weight/sample/3, 1, model.embed_tokens.weight sample",
    "embed_tokens_grad_rows/1, 9, grad_rows/model.embed_tokens.weight",
  })
  void failsWhereANumberOfTheLossesIsChanged(String place, double value, String quantity)
      throws IOException {
    Path copy = VerifyCommandTest.copy(folder, "llama-mha", "losses");
    edit(
        copy.resolve("losses.json"),
        json -> {
          JsonArray cases = json.getAsJsonArray("cases");
          while (cases.size() > 1) {
            cases.remove(1);
          }
          set(cases.get(0), place, value);
        });
    assertFails(copy, "verified 1 cases, 1 failed, 0 not covered", quantity);
  }

  @ParameterizedTest
  @CsvSource({
    "steps/3/batch/input_ids/0/60, 3, step 4 batch",
    "steps/3/batch/labels/0/30, 3, step 4 batch",
    "steps/0/batch/output_predict_ids/0/3, 3, step 1 bow_predict_loss",
    "steps/11/scalars_f64/loss, 3, step 12 loss",
    "steps/11/scalars_f64/global_grad_norm, 3, step 12 global_grad_norm",
    "final_params_f64/lm_head.weight/norm, 3, lm_head.weight norm",
    "final_params_f64/model.norm.weight/abs_max, 3, model.norm.weight abs_max",
    "final_params_f64/model.norm.weight/sample/15, 3, model.norm.weight sample",
    "optimizer/lr, 1.1e-3, loss",
    "optimizer/beta1, 0.89, loss",
    "optimizer/beta2, 0.99, final/",
    "optimizer/eps, 1e-5, final/",
    "optimizer/weight_decay, 0.01, final/model.norm.weight",
    "optimizer/grad_clip, 0.00001, final/",
  })
  void failsWhereANumberOfTheTrajectoryIsChanged(String place, double value, String quantity)
      throws IOException {
    Path copy = VerifyCommandTest.copy(folder, "llama-mha", "trajectory");
    edit(copy.resolve("trajectory.json"), json -> set(json, place, value));
    assertFails(copy, "verified 1 cases, 1 failed, 0 not covered", quantity);
  }

  @Test
  void failsWhereTensorsAreChanged() throws IOException {
    Path copy = VerifyCommandTest.copy(folder, "llama-mha", "losses", "trajectory");
    String norm = "loss-single/grad/model.norm.weight";
    editTensor(copy.resolve("losses.f64.safetensors"), norm, 1, value -> value + 1e-4);
    editTensor(
        copy.resolve("losses.f64.safetensors"),
        "loss-basic/last_hidden_state",
        -1,
        value -> value + 2e-4);
    editTensor(
        copy.resolve("trajectory.f64.safetensors"),
        "final/model.norm.weight",
        1,
        value -> value + 2e-3);
    CommandRun run = CommandRun.of("verify", copy.toString());
    assertThat(run.code()).isEqualTo(1);
    assertThat(run.lines())
        .filteredOn(line -> line.startsWith("    FAIL"))
        .hasSize(3)
        .anyMatch(line -> line.contains("grad/model.norm.weight"))
        .anyMatch(line -> line.contains("last_hidden_state"))
        .anyMatch(line -> line.contains("final/model.norm.weight"));
    assertThat(VerifyCommandTest.last(run)).isEqualTo("verified 8 cases, 3 failed, 0 not covered");
  }

  @Test
  void mostFinalWeightsMustComeCloserThanTheWorst() throws IOException {
    Path copy = VerifyCommandTest.copy(folder, "llama-mha", "trajectory");
    Path tensors = copy.resolve("trajectory.f64.safetensors");
    String name = "final/model.layers.0.mlp.up_proj.weight";
    // Of 11,264 elements 11 may be off by more than 1e-5.
    editTensor(tensors, name, 11, value -> value + 5e-5);
    assertThat(CommandRun.of("verify", copy.toString()).code()).isZero();
    editTensor(tensors, name, 12, value -> value + 5e-5);
    assertFails(copy, "verified 1 cases, 1 failed, 0 not covered", "12 of 11264 beyond it");
  }

  @Test
  void refusesWhatItCannotReplay() throws IOException {
    Path copy = VerifyCommandTest.copy(folder, "llama-mha", "trajectory");
    Path file = copy.resolve("trajectory.json");
    String original = Files.readString(file);
    for (String[] change :
        new String[][] {
          {"schedule", "cosine"}, {"name", "SGD"}, {"beta1", "1.5"}, {"grad_clip", "-1"}
        }) {
      edit(file, json -> json.getAsJsonObject("optimizer").addProperty(change[0], change[1]));
      LlaraTest.assertRefused(CommandRun.of("verify", copy.toString()), change[1]);
      Files.writeString(file, original);
    }
    edit(file, json -> json.addProperty("recipe", "haiku"));
    LlaraTest.assertRefused(CommandRun.of("verify", copy.toString()), "haiku");
    Files.writeString(file, original);
    edit(
        file,
        json ->
            json.getAsJsonObject("tensors")
                .addProperty("final/model.layers.9.mlp.up_proj.weight", "x"));
    LlaraTest.assertRefused(CommandRun.of("verify", copy.toString()), "model.layers.9");
  }

  @Test
  void suffixesMustHaveTheLengthsOfTheRecipe() throws IOException {
    Path copy = VerifyCommandTest.copy(folder, "llama-mha", "trajectory", "encode");
    edit(
        copy.resolve("encode.json"),
        json -> {
          JsonArray cases = json.getAsJsonArray("cases");
          while (!recipe(cases.get(0)).equals("paper")) {
            cases.remove(0);
          }
          while (cases.size() > 1) {
            cases.remove(1);
          }
        });
    edit(copy.resolve("trajectory.json"), json -> json.addProperty("recipe", "paper"));
    assertFails(
        copy,
        "verified 2 cases, 1 failed, 0 not covered",
        "step 1 labels  (no row has 5 + 5 tokens after its labelled text)");
  }

  private static String recipe(JsonElement one) {
    return one.getAsJsonObject().get("recipe").getAsString();
  }

  private static void assertFails(Path copy, String last, String quantity) {
    CommandRun run = CommandRun.of("verify", copy.toString());
    assertThat(run.code()).as(run.err()).isEqualTo(1);
    assertThat(run.lines())
        .filteredOn(line -> line.contains("FAIL"))
        .anyMatch(line -> line.contains(quantity));
    assertThat(VerifyCommandTest.last(run)).isEqualTo(last);
  }

  private interface Change {
    void apply(JsonObject json);
  }

  private static void edit(Path file, Change change) throws IOException {
    JsonObject json = JsonParser.parseString(Files.readString(file)).getAsJsonObject();
    change.apply(json);
    Files.writeString(file, json.toString());
  }

  /** Sets a number at a place such as {@code batch/labels/0/3}; whole ones stay whole. */
  private static void set(JsonElement root, String place, double value) {
    JsonElement at = root;
    List<String> keys = List.of(place.split("/"));
    for (String key : keys.subList(0, keys.size() - 1)) {
      at =
          at.isJsonArray()
              ? at.getAsJsonArray().get(Integer.parseInt(key))
              : at.getAsJsonObject().get(key);
    }
    String last = keys.get(keys.size() - 1);
    JsonPrimitive number =
        value == Math.rint(value) ? new JsonPrimitive((int) value) : new JsonPrimitive(value);
    if (at.isJsonArray()) {
      at.getAsJsonArray().set(Integer.parseInt(last), number);
    } else {
      at.getAsJsonObject().add(last, number);
    }
  }

  /** Changes the first elements of a float64 tensor, or, if the count is negative, the last. */
  private static void editTensor(Path file, String name, int count, DoubleUnaryOperator change)
      throws IOException {
    ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
    int header = (int) bytes.getLong(0);
    JsonArray offsets =
        JsonParser.parseString(new String(bytes.array(), 8, header, UTF_8))
            .getAsJsonObject()
            .getAsJsonObject(name)
            .getAsJsonArray("data_offsets");
    int begin = 8 + header + offsets.get(0).getAsInt();
    int end = 8 + header + offsets.get(1).getAsInt();
    for (int i = 0; i < Math.abs(count); i++) {
      int at = count > 0 ? begin + i * Double.BYTES : end - (i + 1) * Double.BYTES;
      bytes.putDouble(at, change.applyAsDouble(bytes.getDouble(at)));
    }
    Files.write(file, bytes.array());
  }
}

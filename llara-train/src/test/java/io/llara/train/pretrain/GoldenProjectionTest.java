package io.llara.train.pretrain;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.google.common.primitives.Doubles;
import com.google.common.primitives.Floats;
import com.google.common.primitives.Ints;
import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.SafetensorsFile;
import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.testing.Shared;
import io.llara.train.model.HeadGradient;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.StreamSupport;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;

/**
 * Continues from the reference's last hidden states to its losses and to the gradient of its head;
 * see golden/README.md.
 */
class GoldenProjectionTest {
  private static final Gson GSON = new Gson();
  private static final int MARKERS = 8;
  private static final int NEXT_SUFFIX = 18;

  @Test
  void lossesAndTheHeadsGradientEqualTheReference() throws Exception {
    Libtorch.load();
    Path golden = Shared.require().resolve("golden");
    JsonObject basic = basic(golden);
    JsonObject tensors = basic.getAsJsonObject("tensors");
    JsonObject batch = basic.getAsJsonObject("batch");
    SafetensorsFile file = SafetensorsFile.open(golden.resolve("losses.f64.safetensors"));
    int[][] labels = GSON.fromJson(batch.get("labels"), int[][].class);

    try (TensorScope scope = new TensorScope()) {
      var head = CheckpointDirectory.open(golden.resolve("llama-mha")).tensor(LlamaTensors.HEAD);
      Tensor weight = Tensors.ofFloats(head.readFloats(), head.shape());
      String states = tensors.get("last_hidden_state").getAsString();
      long width = file.entry(states).shape()[2];
      Tensor hidden =
          Tensors.ofFloats(floats(file, states), (long) labels.length * labels[0].length, width);

      int length = labels[0].length;
      List<Integer> labelled = new ArrayList<>();
      List<Bag> targets = new ArrayList<>();
      List<Integer> self = new ArrayList<>();
      List<Integer> next = new ArrayList<>();
      for (int i = 0; i < labels.length; i++) {
        for (int column = 0; column + 1 < length; column++) {
          if (labels[i][column + 1] >= 0) {
            labelled.add(i * length + column);
            targets.add(Bag.of(labels[i][column + 1]));
          }
        }
        for (int marker = 0; marker < MARKERS; marker++) {
          int last = (i + 1) * length - MARKERS + marker;
          self.add(last - NEXT_SUFFIX);
          next.add(last);
        }
      }
      List<Bag> selfBags = bags(batch.get("output_summarize_ids"));
      List<Bag> nextBags = bags(batch.get("output_predict_ids"));
      int[] wanted = GSON.fromJson(basic.get("lm_head_grad_rows"), int[].class);
      Tensor gradient =
          Tensors.ofFloats(new float[wanted.length * (int) width], wanted.length, width);
      HeadGradient sink = HeadGradient.rows(wanted, gradient);
      VocabularyProjection projection = new VocabularyProjection(weight, 1 << 20);

      int count = targets.size();
      double share = 0.5 / 10 / labels.length;
      double tokens =
          projection.loss(select(hidden, labelled), 1, targets, 1.0 / count, sink).sum();
      double ofSelf = projection.loss(select(hidden, self), MARKERS, selfBags, share, sink).sum();
      double ofNext = projection.loss(select(hidden, next), MARKERS, nextBags, share, sink).sum();

      JsonObject scalars = basic.getAsJsonObject("scalars_f64");
      assertThat(tokens / count).isEqualTo(scalars.get("ar_loss").getAsDouble(), within(2e-6));
      assertThat(ofSelf / 10 / labels.length)
          .isEqualTo(scalars.get("bow_summarize_loss").getAsDouble(), within(2e-7));
      assertThat(ofNext / 10 / labels.length)
          .isEqualTo(scalars.get("bow_predict_loss").getAsDouble(), within(2e-7));
      String rows = tensors.get("grad_rows/lm_head.weight").getAsString();
      Tensor expected = Tensors.ofFloats(floats(file, rows), wanted.length, width);
      assertThat(expected.abs().max().item_float()).isGreaterThan(1e-3f);
      assertThat(gradient.sub(expected).abs().max().item_float()).isLessThan(1e-6f);
    }
  }

  private static JsonObject basic(Path golden) throws Exception {
    return StreamSupport.stream(
            JsonParser.parseString(Files.readString(golden.resolve("losses.json")))
                .getAsJsonObject()
                .getAsJsonArray("cases")
                .spliterator(),
            false)
        .map(JsonElement::getAsJsonObject)
        .filter(c -> c.get("name").getAsString().equals("loss-basic"))
        .findFirst()
        .orElseThrow();
  }

  private static List<Bag> bags(JsonElement ids) {
    return IntStream.range(0, ids.getAsJsonArray().size())
        .mapToObj(i -> Bag.ofSet(GSON.fromJson(ids.getAsJsonArray().get(i), int[].class)))
        .toList();
  }

  private static Tensor select(Tensor hidden, List<Integer> rows) {
    return hidden.index_select(0, Tensors.ofInts(Ints.toArray(rows)));
  }

  private static float[] floats(SafetensorsFile file, String name) {
    return Floats.toArray(Doubles.asList(file.entry(name).readDoubles()));
  }
}

package io.llara.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import io.llara.io.StrictJson;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class QuantizationTest {
  /** As other tools write it: maps in float32 apart from the linear ones, activations in 8 bits. */
  private static final String OTHERS =
      """
      {"quantization_config": {"quant_method": "compressed-tensors", "format": "int-quantized",
       "config_groups": {"group_0": {"targets": ["Linear"],
        "input_activations": {"num_bits": 8, "dynamic": true},
        "weights": {"num_bits": 8, "type": "int", "symmetric": true, "strategy": "channel",
         "group_size": null, "actorder": null}}},
       "ignore": ["lm_head"], "kv_cache_scheme": null}}
      """;

  private static Optional<Quantization> read(String config) {
    return Quantization.read(StrictJson.modelText(config, "config.json"));
  }

  @ParameterizedTest
  @CsvSource({"4, 4, 32", "8, 8, 0", "4, 8, 64"})
  void isReadAsItIsWritten(int bits, int embeddingBits, int group) {
    Quantization written = new Quantization(bits, embeddingBits, group);
    String json = written.toJson(List.of("model.layers.0.mlp.down_proj")).toString();
    assertThat(read("{\"quantization_config\": " + json + "}")).contains(written);
  }

  @Test
  void isReadAsOthersWriteIt() {
    assertThat(read(OTHERS)).contains(new Quantization(8, 8, 0));
    assertThat(read("{\"quantization_config\": null}")).isEmpty();
    assertThat(read("{}")).isEmpty();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "\"compressed-tensors\";\"gptq\";key 'quantization_config.quant_method' is a checkpoint quantised in another way (the string 'gptq')",
        "\"num_bits\": 8, \"type\";\"num_bits\": 3, \"type\";num_bits' is 3",
        "\"symmetric\": true;\"symmetric\": false;symmetric' is false",
        "\"type\": \"int\";\"type\": \"float\";type' is",
        "\"actorder\": null;\"actorder\": \"group\";actorder' is",
        "\"channel\";\"block\";strategy' is 'block'",
        "\"int-quantized\";\"naive-quantized\";format' is",
        "\"Linear\";\"Conv1d\";without the target Linear",
        "[\"Linear\"];[\"Linear\", \"re:.*proj\"];with the targets [re:.*proj]"
      })
  void otherWaysAreRefusedByName(String from, String to, String message) {
    assertThat(OTHERS).contains(from);
    assertThatExceptionOfType(UnsupportedModelException.class)
        .isThrownBy(() -> read(OTHERS.replace(from, to)))
        .withMessageStartingWith("config.json")
        .withMessageContaining(message);
  }

  @Test
  void withoutSayingHowItIsRefused() {
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> read("{\"quantization_config\": {}}"))
        .withMessageContaining("a checkpoint quantised in another way");
  }

  @Test
  void otherNumbersOfBitsAreRefused() {
    assertThatIllegalArgumentException().isThrownBy(() -> new Quantization(5, 8, 32));
    assertThatIllegalArgumentException().isThrownBy(() -> new Quantization(4, 2, 32));
    assertThatIllegalArgumentException().isThrownBy(() -> new Quantization(4, 8, -32));
    assertThatIllegalArgumentException().isThrownBy(() -> new Quantization(4, 8, 31));
  }
}

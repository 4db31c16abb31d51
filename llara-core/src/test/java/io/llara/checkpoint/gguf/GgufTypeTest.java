package io.llara.checkpoint.gguf;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.EnumSet;
import java.util.HexFormat;
import java.util.Objects;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** Blocks of random bits against what ggml's own package makes of them ({@code gguf-blocks.py}). */
class GgufTypeTest {

  @Test
  void everyTypeDecodesToTheSameBits() throws Exception {
    Set<GgufType> seen = EnumSet.noneOf(GgufType.class);
    try (InputStream in =
        Objects.requireNonNull(GgufTypeTest.class.getResourceAsStream("gguf-blocks.json"))) {
      var cases =
          JsonParser.parseReader(new InputStreamReader(in, StandardCharsets.UTF_8))
              .getAsJsonArray();
      for (var element : cases) {
        JsonObject one = element.getAsJsonObject();
        GgufType type = GgufType.numbered(one.get("number").getAsInt()).orElseThrow();
        assertThat(type.name()).isEqualTo(one.get("type").getAsString());
        assertThat(type.blockElements()).isEqualTo(one.get("block").getAsInt());
        float[] floats = decode(type, HexFormat.of().parseHex(one.get("bytes").getAsString()));
        var expected = one.getAsJsonArray("floats");
        assertThat(floats).hasSize(expected.size());
        for (int i = 0; i < floats.length; i++) {
          assertThat(Float.floatToRawIntBits(floats[i]))
              .as("%s, element %d", type, i)
              .isEqualTo(expected.get(i).getAsInt());
        }
        seen.add(type);
      }
    }
    assertThat(seen).isEqualTo(EnumSet.allOf(GgufType.class));
  }

  private static float[] decode(GgufType type, byte[] bytes) {
    ByteBuffer in = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    int blocks = bytes.length / type.blockBytes();
    float[] floats = new float[blocks * type.blockElements()];
    for (int block = 0; block < blocks; block++) {
      type.decode(in, block * type.blockBytes(), floats, block * type.blockElements());
    }
    return floats;
  }

  @Test
  void othersAreKnownByName() {
    assertThat(GgufType.name(12)).isEqualTo("Q4_K (number 12)");
    assertThat(GgufType.name(8)).isEqualTo("Q8_0");
    assertThat(GgufType.name(4)).isEqualTo("number 4");
    assertThat(GgufType.name(4294967295L)).isEqualTo("number 4294967295");
    assertThat(GgufType.numbered(12)).isEmpty();
  }
}

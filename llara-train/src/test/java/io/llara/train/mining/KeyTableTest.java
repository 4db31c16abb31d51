package io.llara.train.mining;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.Size;
import org.junit.jupiter.api.Test;

class KeyTableTest {

  @Property(tries = 100)
  void numbersKeysInTheOrderOfTheirComing(
      @ForAll @Size(max = 600) List<@IntRange(max = 300) Integer> texts,
      @ForAll @IntRange(min = 1, max = 1000) int spread) {
    KeyTable table = new KeyTable();
    Map<TextKey, Integer> expected = new LinkedHashMap<>();
    for (int text : texts) {
      // Many fall into one slot.
      TextKey key = new TextKey(text / spread, text);
      int number = expected.computeIfAbsent(key, k -> expected.size());
      assertThat(table.find(key)).isEqualTo(number == table.size() ? -1 : number);
      assertThat(table.add(key)).isEqualTo(number);
      assertThat(table.size()).isEqualTo(expected.size());
    }
    expected.forEach((key, number) -> assertThat(table.find(key)).isEqualTo(number));
  }

  @Test
  void textsAreTheSameWhateverTheirWhiteSpace() {
    TextKey key = TextKey.of("a llama and b");
    assertThat(List.of(" a llama  and b", "a\tllama\r\nand\u00a0b\n", "a\u2003llama and b "))
        .allSatisfy(text -> assertThat(TextKey.of(text)).isEqualTo(key));
    assertThat(List.of("a llama andb", "A llama and b", "a llama, and b", ""))
        .allSatisfy(text -> assertThat(TextKey.of(text)).isNotEqualTo(key));
    assertThat(key.hex()).matches("[0-9a-f]{32}");
  }
}

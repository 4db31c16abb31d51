package io.llara.retrieval;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.hash.HashCode;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.Size;

class DigestTableTest {

  @Property(tries = 100)
  void numbersDigestsInTheOrderOfTheirComing(
      @ForAll @Size(max = 600) List<@IntRange(max = 300) Integer> texts) {
    DigestTable table = new DigestTable();
    Map<HashCode, Integer> expected = new LinkedHashMap<>();
    for (int text : texts) {
      HashCode digest = HashCode.fromLong(text);
      int number = expected.computeIfAbsent(digest, key -> expected.size());
      assertThat(table.find(digest)).isEqualTo(number == table.size() ? -1 : number);
      assertThat(table.add(digest)).isEqualTo(number);
      assertThat(table.size()).isEqualTo(expected.size());
    }
    expected.forEach((digest, number) -> assertThat(table.find(digest)).isEqualTo(number));
  }
}

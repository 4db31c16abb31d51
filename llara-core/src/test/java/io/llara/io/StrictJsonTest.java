package io.llara.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import io.llara.ModelLoadException;
import io.llara.checkpoint.Checkpoints;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class StrictJsonTest {
  @TempDir Path dir;

  private JsonSection read(String json) {
    return StrictJson.modelFile(Checkpoints.text(dir.resolve("s.json"), json));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "{",
        "{} {}",
        "{\"a\":1,}",
        "{'a':1}",
        "{a:1}",
        "{\"a\":NaN}",
        "{\"a\":Infinity}",
        "{\"a\":01}",
        "{\"a\":1} // x",
        "{\"a\":tRue}",
        "{\"a\":\"\t\"}",
        "{\"a\" 1}",
        "{\"a\":}"
      })
  void refusesWhatIsNotJson(String text) {
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> read(text))
        .withMessageContaining("s.json: is not valid JSON");
  }

  @Test
  void refusesDeepNestingWithoutOverflowingTheStack() {
    for (String nested : new String[] {"[", "{\"a\":"}) {
      assertThatExceptionOfType(ModelLoadException.class)
          .isThrownBy(() -> read("{\"x\":" + nested.repeat(500_000)))
          .withMessageContaining("is not valid JSON")
          .withMessageContaining("esting limit");
    }
  }

  @Test
  void refusesADuplicateKeyAtAnyDepth() {
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> read("{\"x\":[{\"a\":1,\"b\":2,\"a\":1}]}"))
        .withMessageContaining("the key 'a' occurs twice");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {"[];a list", "3;3", "'\"x\"';the string 'x'", "null;null", "true;true"})
  void wantsAnObject(String json, String found) {
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> read(json))
        .withMessageEndingWith("s.json: holds " + found + "; expected a JSON object");
  }

  @Test
  void refusesMalformedUtf8AndAbsentFiles() throws IOException {
    Path file = Files.write(dir.resolve("s.json"), new byte[] {'{', '"', (byte) 0xc3, '"', '}'});
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> StrictJson.modelFile(file))
        .withMessageContaining("is not valid JSON");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> StrictJson.modelFile(dir.resolve("nix.json")))
        .withMessageContaining("nix.json: cannot be read: no such file");
  }

  @Test
  void refusesAnEnormousFile() throws IOException {
    Path file = dir.resolve("s.json");
    try (RandomAccessFile raw = new RandomAccessFile(file.toFile(), "rw")) {
      raw.setLength(1L << 40);
    }
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> StrictJson.modelFile(file))
        .withMessageContaining("is larger than 4194304 bytes");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "\"8\"",
        "8.0",
        "8e0",
        "1e999999999",
        "2147483648",
        "99999999999999999999999",
        "true",
        "[]",
        "{}"
      })
  void wantsWholeNumbersOf32Bits(String value) {
    JsonSection json = read("{\"n\":" + value + "}");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> json.requiredInt("n"))
        .withMessageContaining("s.json: key 'n' is ")
        .withMessageEndingWith("; expected a whole number of 32 bits");
  }

  @ParameterizedTest
  @ValueSource(strings = {"\"8\"", "1e999", "-1e999999999", "false", "[]"})
  void wantsFiniteNumbers(String value) {
    JsonSection json = read("{\"o\":{\"n\":" + value + "}}").section("o").orElseThrow();
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> json.requiredNumber("n"))
        .withMessageContaining("s.json: key 'o.n' is ")
        .withMessageEndingWith("; expected a finite number");
  }

  @Test
  void namesKeyFoundAndExpected() {
    JsonSection json = read("{\"s\":1,\"l\":[\"a\",2],\"m\":{\"k\":null},\"nothing\":null}");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> json.string("s"))
        .withMessageEndingWith("s.json: key 's' is 1; expected a string");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> json.bool("s"))
        .withMessageEndingWith("key 's' is 1; expected true or false");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> json.section("s"))
        .withMessageEndingWith("key 's' is 1; expected an object");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> json.strings("s"))
        .withMessageEndingWith("key 's' is 1; expected a list");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> json.strings("l"))
        .withMessageEndingWith("key 'l[1]' is 2; expected a string");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> json.section("m").orElseThrow().allStrings())
        .withMessageEndingWith("key 'm.k' is null; expected a string");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> json.requiredInt("nothing"))
        .withMessageEndingWith("key 'nothing' is missing; expected a whole number");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(() -> json.refuseUnknownKeys(Set.of("s", "l", "m")))
        .withMessageContaining("unknown key 'nothing'");
    assertThat(json.has("nothing")).isFalse();
    assertThat(json.mentions("nothing")).isTrue();
  }
}

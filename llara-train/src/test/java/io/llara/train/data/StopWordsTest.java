package io.llara.train.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.LlaraException;
import io.llara.testing.Shared;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class StopWordsTest {
  private static final Pattern SEPARATORS = Pattern.compile("[^\\p{L}\\p{N}]+");

  @TempDir Path dir;

  /** Expected values from Python: {@code re.sub(r'[\W_]+', ' ', s)}, then the words. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "The caf\u00e9's na\u00efve owner, Zo\u00eb: \u21165 is \u00bd of x\u00b2!"
            + " | caf\u00e9 na\u00efve owner Zo\u00eb 5 \u00bd x\u00b2",
        "snake_case and A.B.C. \u2014 \u0939\u093f\u0928\u094d\u0926\u0940"
            + " \u65e5\u672c\u8a9e\u3002\u6771\u4eac"
            + " | snake case and B C \u0939 \u0928 \u0926 \u65e5\u672c\u8a9e \u6771\u4eac",
        "THE \u0130stanbul \u039f\u0394\u039f\u03a3 \u2167 \u24b6 \u0663\u0664"
            + " | \u0130stanbul \u039f\u0394\u039f\u03a3 \u2167 \u0663\u0664",
        "break\u00a0wide\u3000space \ud835\udc9c\ud83d\ude00b | break wide space \ud835\udc9c b",
        "The! Of? | ''"
      })
  void stripsAsPythonDoes(String text, String expected) throws IOException {
    StopWords words = StopWords.read(Files.writeString(dir.resolve("words"), "the\nis\na\nof\ns"));

    assertThat(words.strip(text)).isEqualTo(expected);
  }

  @Test
  void emptyAndBlankTextsHaveNoWords() {
    assertThat(StopWords.none().strip("")).isEmpty();
    assertThat(StopWords.none().strip(" \t\n_-\u2014 ")).isEmpty();
  }

  @Property
  void equalsTheSameDoneWithAPattern(@ForAll String text) {
    StopWords words = StopWords.english();

    assertThat(words.strip(text)).isEqualTo(withPattern(text, words.words()));
    assertThat(words.strip(words.strip(text))).isEqualTo(words.strip(text));
  }

  @Test
  void equalsTheSameDoneWithAPatternOnTheSharedPretrainingText() throws IOException {
    Path shared = Shared.require().resolve("data");
    StopWords words = StopWords.read(shared.resolve("stopwords-en.txt"));
    assertThat(words.words()).hasSize(179).contains("i", "wouldn't");
    for (String line :
        Files.readAllLines(shared.resolve("llara-toy").resolve("toy_pretrain_data.jsonl"))) {
      assertThat(words.strip(line)).isEqualTo(withPattern(line, words.words())).isNotBlank();
      assertThat(StopWords.english().strip(line)).isEqualTo(words.strip(line));
    }
  }

  private static String withPattern(String text, Set<String> stopWords) {
    return Arrays.stream(SEPARATORS.split(text))
        .filter(word -> !word.isEmpty() && !stopWords.contains(word.toLowerCase(Locale.ROOT)))
        .collect(Collectors.joining(" "));
  }

  @Test
  void englishListIsNltksWithoutWhatNeverOccurs() throws IOException {
    Set<String> nltk = StopWords.read(Shared.require().resolve("data/stopwords-en.txt")).words();

    assertThat(StopWords.english().words())
        .containsExactlyInAnyOrderElementsOf(
            nltk.stream().filter(word -> !word.contains("'")).toList());
  }

  @Test
  void englishListHasFunctionWordsOnly() {
    StopWords english = StopWords.english();

    assertThat(english.words())
        .hasSize(153)
        .contains("the", "and", "of", "themselves", "s", "t")
        .allMatch(word -> word.matches("[a-z]+"));
    assertThat(english.strip("The mountains of the Moon aren't in THE sea."))
        .isEqualTo("mountains Moon sea");
  }

  @Test
  void noneTakesAwayPunctuationOnly() {
    assertThat(StopWords.none().strip("The end, of it.")).isEqualTo("The end of it");
    assertThat(StopWords.none().words()).isEmpty();
  }

  @Test
  void readsWordsWhateverTheirCaseAndSurroundings() throws IOException {
    Path file = Files.writeString(dir.resolve("words"), "\uFEFFDer\r\n\n  Stra\u00dfe \nDER\n");

    assertThat(StopWords.read(file).words()).containsExactly("der", "stra\u00dfe");
    assertThat(StopWords.read(file).strip("der DER Stra\u00dfe Weg")).isEqualTo("Weg");
  }

  @Test
  void refusesWhatIsNoListOfWords() throws IOException {
    Path missing = dir.resolve("missing");
    Path empty = Files.writeString(dir.resolve("empty"), "\n \n");
    Path two = Files.writeString(dir.resolve("two"), "the\nof the\n");
    Path latin =
        Files.write(dir.resolve("latin"), "\u00fcber".getBytes(StandardCharsets.ISO_8859_1));

    assertThatThrownBy(() -> StopWords.read(missing))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(missing + ": does not exist; expected a list of stop words");
    assertThatThrownBy(() -> StopWords.read(empty))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(empty + ": has no word");
    assertThatThrownBy(() -> StopWords.read(two))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(two + ":2: is 'of the'");
    assertThatThrownBy(() -> StopWords.read(latin))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(latin + ":1: is not UTF-8");
    assertThatThrownBy(() -> StopWords.read(dir))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(dir.toString());
  }
}

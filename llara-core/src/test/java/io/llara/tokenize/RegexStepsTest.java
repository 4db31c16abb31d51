package io.llara.tokenize;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.testing.Shared;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class RegexStepsTest {
  private static final String CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
  private static final String LOWER = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";
  private static final String UPPER = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]";
  private static final String OTHER = "[^\\r\\n\\p{L}\\p{N}]?";
  private static final String GPT2 =
      "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

  @ParameterizedTest
  @ValueSource(
      strings = {
        // GPT-2, also of SmolLM and StarCoder; LLaMA 3; Qwen2.
        GPT2,
        CONTRACTIONS
            + "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
            + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        CONTRACTIONS
            + "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
            + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        // GPT-4o, Mistral Nemo and LLaMA 4: repetitions of overlapping classes that end a piece.
        OTHER
            + UPPER
            + "*"
            + LOWER
            + "+"
            + CONTRACTIONS
            + "?|"
            + OTHER
            + UPPER
            + "+"
            + LOWER
            + "*"
            + CONTRACTIONS
            + "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        // GPT-4, possessive.
        "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}"
            + "| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
        // DeepSeek V3 and Coder, BLOOM, Falcon.
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
            + "| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        "\\s?[!-/:-~！-／：-～‘-‟　-。]+",
        " ?[^(\\s|[.,!?…。，、।۔،])]+",
        "[\\p{P}\\$\\+<=>\\^~\\|`]+",
        "[)]+",
        "\\)+",
        " {2,}",
        "^\\s+|\\s+$",
        "x*",
        "x*?y",
        "(?:ab?)?c+",
        "(?=x*)y",
        "\\s+(?!\\S)",
        "x{1000}y",
      })
  void expressionsOfKnownTokenizersPass(String regex) {
    assertThat(RegexSteps.problem(regex)).isEmpty();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '#',
      value = {
        "(a+)+ # repeats a group",
        "(a|a)*b # repeats a group",
        "(?:x*){2,} # repeats a group",
        "[b](c)+ # repeats a group",
        "x** # repeats a repetition",
        "x{2}{3} # repeats a repetition",
        "x{2}+ # repeats a repetition",
        "(a)\\1 # refers back",
        "\\g<0> # refers back",
        "\\X # refers back",
        "(?(1)a|b) # of a kind that is not supported",
        "(?~ab) # of a kind that is not supported",
        "x*x*x*x*y # one after another",
        "x*x*y # one after another",
        "x+[xy]+z # one after another",
        "x*?x*?y # one after another",
        "x{2,}x{3,}y # one after another",
        "(?:x*)x*y # one after another",
        "(?:x*y)?x*y # one after another",
        "(?i)x*x*y # one after another",
        "x*(?i)y|x*z # one after another",
        "a(?=x*x*y)b # one after another",
        "(?:a|x*x*y) # one after another",
        "(?:x*x*y)? # one after another",
        "(?:x*x*y|)z? # one after another",
        "x*y|x*z|x*w # in several ways",
        "(?:x*y)?(?:x*z)?(?:x*w)? # in several ways",
        "\\p{L}*1|[a-z]*2|(?i:B*)3 # in several ways",
        "x?x?x?x?x?x?x?x?x?x?x?y # too many ways",
        "(?:x|x)(?:x|x)(?:x|x)(?:x|x)(?:x|x)(?:x|x)(?:x|x)(?:x|x)(?:x|x)(?:x|x)y # too many ways",
        "x{0,500}x{0,500}y # too many ways",
        "x{3}?x{3}?x{3}?x{3}?x{3}?x{3}?x{3}?x{3}?x{3}?x{3}?y # too many ways",
        "a)x*x*y # has an unmatched ')'",
        "[]x*x*y] # begins with ']'",
      })
  void expressionsThatCouldTakeForeverAreRefused(String regex, String problem) {
    assertThat(RegexSteps.problem(regex)).get().asString().contains(problem);
  }

  @Test
  void nestingIsBounded() {
    assertThat(RegexSteps.problem("(".repeat(100_000))).get().asString().contains("50 deep");
    assertThat(RegexSteps.problem("(?i)".repeat(100_000))).get().asString().contains("50 deep");
  }

  @Test
  void whatIsNoExpressionIsLeftToTheNativeLibrary() {
    for (String regex : List.of("", "(", "[", "[a", "\\", "\\p{", "x{", "{}", "*", "|", "(?:")) {
      assertThat(RegexSteps.problem(regex)).as(regex).isEmpty();
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama2", "mistral-v0.1", "open-llama"})
  void expressionsOfSharedTokenizersPass(String name) throws IOException {
    Path file = Shared.require().resolve("data/tokenizers").resolve(name).resolve("tokenizer.json");
    JsonObject json = JsonParser.parseString(Files.readString(file)).getAsJsonObject();
    json.remove("model");
    check(json);
  }

  private static void check(JsonElement value) {
    if (value instanceof JsonObject object) {
      if (object.has("Regex")) {
        assertThat(RegexSteps.problem(object.get("Regex").getAsString())).isEmpty();
      }
      object.asMap().values().forEach(RegexStepsTest::check);
    } else if (value.isJsonArray()) {
      value.getAsJsonArray().forEach(RegexStepsTest::check);
    }
  }
}

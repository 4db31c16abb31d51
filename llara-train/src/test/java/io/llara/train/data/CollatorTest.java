package io.llara.train.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.common.primitives.Ints;
import io.llara.LlaraException;
import io.llara.TokenizationException;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.testing.MarkedStories;
import io.llara.tokenize.Tokenizer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CollatorTest {
  private static final PromptBuilder OF_IDS =
      PromptBuilder.ofIds(new int[] {1, 9}, new int[] {20, 21}, new int[] {30, 31, 32}, 1);
  private static final int[] BOS = {1};
  private static final TrainingText TEXT =
      new TrainingText("Once upon a time.", "upon time", "dog ran", "data.jsonl:7");

  @TempDir static Path dir;
  private static Tokenizer tokenizer;

  @BeforeAll
  static void load() {
    tokenizer = Tokenizer.load(MarkedStories.write(dir.resolve("model")));
  }

  @AfterAll
  static void close() {
    tokenizer.close();
  }

  @Test
  void jointExampleHasPromptAndTargetsWithBos() {
    PromptBuilder builder = PromptBuilder.create(PromptTemplate.LLAMA2VEC, tokenizer);

    Example example = Collator.joint(builder, tokenizer, 256).example(TEXT);

    assertThat(example.prompt()).isEqualTo(builder.buildJoint("Once upon a time.", 256));
    assertThat(example.prompt().isJoint()).isTrue();
    assertThat(example.selfTargets().toArray())
        .isEqualTo(Ints.concat(tokenizer.bosIds(), tokenizer.encodeText("upon time")));
    assertThat(example.nextTargets().toArray())
        .isEqualTo(Ints.concat(tokenizer.bosIds(), tokenizer.encodeText("dog ran")));
    assertThat(example.origin()).isEqualTo("data.jsonl:7");
    assertThat(example.toString()).contains("data.jsonl:7");
  }

  @Test
  void targetsMayBeEmptyOrTheTextItself() {
    PromptBuilder builder = PromptBuilder.create(PromptTemplate.PAPER, tokenizer);
    TrainingText text = new TrainingText("A dog.", "A dog.", "", "x:1");

    Example example = Collator.joint(builder, tokenizer, 256).example(text);

    assertThat(example.selfTargets().toArray())
        .isEqualTo(Ints.concat(tokenizer.bosIds(), tokenizer.encodeText("A dog.")));
    assertThat(example.nextTargets().toArray()).isEqualTo(tokenizer.bosIds());
  }

  @Test
  void plainExampleIsBosAndTextCutAtItsEnd() {
    int[] all = Ints.concat(tokenizer.bosIds(), tokenizer.encodeText(TEXT.text()));

    Example whole = Collator.plain(tokenizer, all.length).example(TEXT);
    Example cut = Collator.plain(tokenizer, 4).example(TEXT);

    assertThat(whole.prompt()).isEqualTo(Prompt.plain(all));
    assertThat(cut.prompt()).isEqualTo(Prompt.plain(Arrays.copyOf(all, 4)));
    assertThat(whole.selfTargets().toArray()).isEmpty();
    assertThat(whole.nextTargets().toArray()).isEmpty();
  }

  @Property
  void cutsTextForBothSuffixesAndTargetsWithBos(
      @ForAll @IntRange(min = 1, max = 60) int text,
      @ForAll @IntRange(max = 60) int self,
      @ForAll @IntRange(max = 60) int next,
      @ForAll @IntRange(min = 8, max = 50) int maxTokens) {
    int[] textIds = IntStream.range(100, 100 + text).toArray();
    int[] selfIds = IntStream.range(200, 200 + self).toArray();
    int[] nextIds = IntStream.range(300, 300 + next).toArray();

    Example example =
        Collator.fromIds(
            OF_IDS, textIds, Ints.concat(BOS, selfIds), Ints.concat(BOS, nextIds), maxTokens);

    int kept = Math.min(text, maxTokens - 7);
    assertThat(example.prompt().ids())
        .isEqualTo(
            Ints.concat(
                new int[] {1, 9}, Arrays.copyOf(textIds, kept), new int[] {20, 21, 30, 31, 32}));
    assertThat(example.prompt().length()).isLessThanOrEqualTo(maxTokens);
    assertThat(example.prompt().truncatedTokens()).isEqualTo(text - kept);
    int[] selfWithBos = Ints.concat(BOS, selfIds);
    int[] nextWithBos = Ints.concat(BOS, nextIds);
    assertThat(example.selfTargets().toArray())
        .isEqualTo(Arrays.copyOf(selfWithBos, Math.min(self + 1, maxTokens)));
    assertThat(example.nextTargets().toArray())
        .isEqualTo(Arrays.copyOf(nextWithBos, Math.min(next + 1, maxTokens)));
  }

  @Test
  void errorsNameWhereTheTextWasRead() {
    Collator collator =
        Collator.joint(PromptBuilder.create(PromptTemplate.PAPER, tokenizer), tokenizer, 256);

    assertThatThrownBy(() -> collator.example(new TrainingText("a\ud83d", "", "", "x:3")))
        .isInstanceOf(TokenizationException.class)
        .hasMessageStartingWith("x:3: ");
    assertThatThrownBy(() -> collator.example(new TrainingText("a", "", "\ud83d", "x:4")))
        .isInstanceOf(TokenizationException.class)
        .hasMessageStartingWith("x:4: ");
    assertThatThrownBy(() -> collator.example(new TrainingText("", "", "", "x:5")))
        .isInstanceOf(LlaraException.class)
        .hasMessageStartingWith("x:5: ");
  }

  @Test
  void refusesBadArguments() {
    PromptBuilder builder = PromptBuilder.create(PromptTemplate.LLAMA2VEC, tokenizer);
    int least = tokenizer.bosIds().length + 1;
    PromptBuilder separate =
        PromptBuilder.create(
            PromptTemplate.builder("separate").nextPrefix("query:").eos().build(), tokenizer);

    assertThatThrownBy(() -> Collator.joint(builder, tokenizer, 30))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("maxTokens is 30");
    assertThatThrownBy(() -> Collator.joint(separate, tokenizer, 300))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("no joint prompt");
    assertThatThrownBy(() -> Collator.plain(tokenizer, least - 1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("at least " + least);
    assertThat(Collator.plain(tokenizer, least).example(TEXT).prompt().length()).isEqualTo(least);
    int[] none = {};
    assertThatThrownBy(() -> Collator.fromIds(OF_IDS, none, none, none, 20))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> Collator.fromIds(OF_IDS, new int[] {5}, new int[] {-1}, none, 20))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("negative");
    assertThatThrownBy(() -> Collator.fromIds(OF_IDS, new int[] {5}, none, none, 7))
        .isInstanceOf(IllegalArgumentException.class);
  }
}

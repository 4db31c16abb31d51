package io.llara.train.contrastive;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.TextModes;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.prompt.Reserve;
import io.llara.testing.Stories;
import io.llara.tokenize.Tokenizer;
import io.llara.train.data.TrainingPair;
import io.llara.train.testing.TinyLlama;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class PairCollatorTest {
  private static final int[] LONG = {10, 11, 12, 13, 14, 15, 16, 17, 18, 19};

  @Test
  void eachTextIsCutByTheSuffixOfItsOwnMode() {
    // A prefix of 2, suffixes of 3 (SELF) and 4 (NEXT).
    for (Reserve reserve : Reserve.values()) {
      PairCollator collator =
          new PairCollator(TinyLlama.prompts(2).withReserve(reserve), TextModes.N2S, 10, 12);
      assertThat(collator.query(LONG).ids()).containsExactly(1, 5, 10, 11, 12, 13, 38, 37, 36, 35);
      assertThat(collator.passage(LONG).ids())
          .containsExactly(1, 5, 10, 11, 12, 13, 14, 15, 16, 30, 31, 32);
      assertThat(collator.query(new int[] {10}).textLength()).isEqualTo(1);
    }
  }

  @ParameterizedTest
  @EnumSource
  void modesAreThoseThatWereChosen(TextModes modes) {
    PairCollator collator = new PairCollator(TinyLlama.prompts(2), modes, 20, 20);
    assertThat(collator.query(LONG)).isEqualTo(TinyLlama.prompts(2).fromIds(LONG, modes.query()));
    assertThat(collator.passage(LONG))
        .isEqualTo(TinyLlama.prompts(2).fromIds(LONG, modes.passage()));
    assertThat(TextModes.byName(modes.spelled())).contains(modes);
    assertThat(collator.modes()).isEqualTo(modes);
  }

  @Test
  void queriesAreNextAndPassagesSelfByName() {
    assertThat(TextModes.N2S.query()).isEqualTo(Mode.NEXT);
    assertThat(TextModes.N2S.passage()).isEqualTo(Mode.SELF);
    assertThat(TextModes.byName("n2s")).contains(TextModes.N2S);
    assertThat(TextModes.byName("N2S")).isEmpty();
  }

  @Test
  void refusesLengthsWithoutRoom() {
    assertThat(new PairCollator(TinyLlama.prompts(2), TextModes.N2S, 7, 6)).isNotNull();
    assertThatThrownBy(() -> new PairCollator(TinyLlama.prompts(2), TextModes.N2S, 6, 6))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "queryMaxTokens is 6, which leaves no room for a text in mode NEXT; it must be at"
                + " least 7");
    assertThatThrownBy(() -> new PairCollator(TinyLlama.prompts(2), TextModes.N2S, 7, 5))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("passageMaxTokens is 5");
  }

  @Test
  void textsBecomePromptsInTheirOrder() {
    try (Tokenizer tokenizer = Tokenizer.load(Stories.dir())) {
      PromptBuilder builder = PromptBuilder.create(PromptTemplate.PAPER, tokenizer);
      PairCollator collator = new PairCollator(builder, TextModes.N2S, 100, 100);
      PairExample example =
          collator.example(
              new TrainingPair(
                  "Where is the dog?", List.of("In the park."), List.of("A cat."), "f:3"),
              SoftTargets.NONE);
      assertThat(example.query()).isEqualTo(builder.build("Where is the dog?", Mode.NEXT, 100));
      assertThat(example.passages())
          .containsExactly(
              builder.build("In the park.", Mode.SELF, 100),
              builder.build("A cat.", Mode.SELF, 100));
      assertThat(example.origin()).isEqualTo("f:3");
      assertThat(example.tokens())
          .isEqualTo(
              example.query().length()
                  + example.passages().stream().mapToInt(Prompt::length).sum());
      assertThat(PairExample.prompts(List.of(example, example)))
          .containsExactly(
              example.query(),
              example.query(),
              example.passages().get(0),
              example.passages().get(1),
              example.passages().get(0),
              example.passages().get(1));

      assertThatThrownBy(
              () ->
                  collator.example(
                      new TrainingPair("q", List.of(" "), List.of(), "f:7"), SoftTargets.NONE))
          .isInstanceOf(LlaraException.class)
          .hasMessageStartingWith("f:7: ");
    }
  }
}

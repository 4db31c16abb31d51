package io.llara.prompt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.Mode;
import io.llara.ModelLoadException;
import io.llara.prompt.PromptTemplate.Affix;
import io.llara.prompt.PromptTemplate.Eos;
import io.llara.prompt.PromptTemplate.Part;
import io.llara.prompt.PromptTemplate.Text;
import io.llara.prompt.PromptTemplate.Token;
import java.util.List;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PromptTemplateTest {
  @Test
  void releasedRecipeHasEightMarkersAMode() {
    assertThat(PromptTemplate.LLAMA2VEC.pooling()).isEqualTo(Pooling.MEAN_OF_MARKERS);
    assertThat(PromptTemplate.LLAMA2VEC.self().markers())
        .hasSize(8)
        .startsWith(new Token("<s1>"))
        .endsWith(new Token("<s8>"));
    assertThat(PromptTemplate.LLAMA2VEC.next().markers())
        .hasSize(8)
        .startsWith(new Token("<s9>"))
        .endsWith(new Token("<s16>"));
    assertThat(PromptTemplate.LLAMA2VEC.self().prefix()).containsExactly(new Text("\""));
  }

  @Test
  void recipeOfThePaperEndsInEos() {
    assertThat(PromptTemplate.PAPER.self())
        .isEqualTo(new Affix(List.of(), List.of(new Text("The original sentence:"), new Eos())));
    assertThat(PromptTemplate.PAPER.next())
        .isEqualTo(new Affix(List.of(), List.of(new Text("The next sentence:"), new Eos())));
    assertThat(PromptTemplate.PAPER.pooling()).isEqualTo(Pooling.LAST_TOKEN);
  }

  @Test
  void recipesHaveNames() {
    assertThat(PromptTemplate.byName("llama2vec")).contains(PromptTemplate.LLAMA2VEC);
    assertThat(PromptTemplate.byName("llara-paper")).contains(PromptTemplate.PAPER);
    assertThat(PromptTemplate.byName("Llama2Vec")).isEmpty();
    assertThat(PromptTemplate.names()).containsExactly("llama2vec", "llara-paper");
  }

  @Test
  void rendersAsText() {
    assertThat(PromptTemplate.LLAMA2VEC.render("T", Mode.NEXT, "</s>"))
        .isEqualTo(
            "\"T\", predict the following passage within eight words:"
                + " <s9><s10><s11><s12><s13><s14><s15><s16>");
    assertThat(PromptTemplate.PAPER.render("T", Mode.SELF, "<|end|>"))
        .isEqualTo("TThe original sentence:<|end|>");
    assertThat(PromptTemplate.builder("bare").build().render("", Mode.SELF, "</s>")).isEmpty();
  }

  @Test
  void builderMakesARecipeOfOnesOwn() {
    PromptTemplate template =
        PromptTemplate.builder("mine")
            .selfPrefix("passage:")
            .nextPrefix("query:")
            .selfSuffix("end")
            .selfMarkers("<a>", "<b>")
            .eos()
            .build();

    assertThat(template)
        .isEqualTo(
            new PromptTemplate(
                "mine",
                new Affix(
                    List.of(new Text("passage:")),
                    List.of(new Text("end"), new Token("<a>"), new Token("<b>"), new Eos())),
                new Affix(List.of(new Text("query:")), List.of(new Eos())),
                Pooling.LAST_TOKEN));
    assertThat(template.self().markers())
        .containsExactly(new Token("<a>"), new Token("<b>"), new Eos());
  }

  @Test
  void markersArePartsBehindTheLastText() {
    Affix affix =
        new Affix(List.of(), List.of(new Token("<a>"), new Text("x"), new Eos(), new Token("<b>")));

    assertThat(affix.markers()).containsExactly(new Eos(), new Token("<b>"));
    assertThat(new Affix(List.of(), List.of(new Text("x"))).markers()).isEmpty();
    assertThat(new Affix(List.of(), List.of()).markers()).isEmpty();
  }

  @Test
  void badRecipesAreRefused() {
    assertThatThrownBy(() -> PromptTemplate.builder(" ").build())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("name");
    assertThatThrownBy(
            () ->
                PromptTemplate.builder("m")
                    .selfMarkers("<a>")
                    .nextSuffix("text only")
                    .pooling(Pooling.MEAN_OF_MARKERS)
                    .build())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("\"m\"")
        .hasMessageContaining("NEXT");
    assertThatThrownBy(() -> new Text("")).isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> PromptTemplate.builder("m").selfMarkers("").build())
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void jsonFormIsTheDocumentedOne() {
    PromptTemplate template =
        PromptTemplate.fromJson(
            """
            {"name": "mine",
             "pooling": "mean_of_markers",
             "self": {"prefix": [{"text": "\\""}], "suffix": [{"text": "\\", sum up: "}, {"token": "<s1>"}]},
             "next": {"suffix": [{"eos": true}]}}
            """);

    assertThat(template)
        .isEqualTo(
            new PromptTemplate(
                "mine",
                new Affix(
                    List.of(new Text("\"")), List.of(new Text("\", sum up: "), new Token("<s1>"))),
                new Affix(List.of(), List.of(new Eos())),
                Pooling.MEAN_OF_MARKERS));
  }

  @Test
  void joinedTemplatesHaveTextBeforeTheText() {
    PromptTemplate joined =
        PromptTemplate.builder("j")
            .prefix("query: ")
            .joined()
            .pooling(Pooling.MEAN_OF_TEXT)
            .build();

    assertThat(joined.toJson()).contains("\"joined\":true", "mean_of_text");
    assertThat(PromptTemplate.fromJson(joined.toJson())).isEqualTo(joined);
    Affix token = new Affix(List.of(new Token("<a>")), List.of());
    assertThatThrownBy(() -> new PromptTemplate("j", token, token, Pooling.LAST_TOKEN, true))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("is joined");
  }

  @Test
  void namedRecipesSurviveJson() {
    for (PromptTemplate template : List.of(PromptTemplate.LLAMA2VEC, PromptTemplate.PAPER)) {
      assertThat(PromptTemplate.fromJson(template.toJson())).isEqualTo(template);
    }
  }

  @Property
  void everyRecipeSurvivesJson(@ForAll("templates") PromptTemplate template) {
    assertThat(PromptTemplate.fromJson(template.toJson())).isEqualTo(template);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{ | not valid JSON",
        "[] | holds a list; expected a JSON object",
        "{'name':'x'} | not valid JSON",
        "{\"name\":\"x\",\"pooling\":\"last_token\",\"self\":{},\"next\":{}} x | not valid JSON",
        "{\"name\":\"x\",\"pooling\":\"last_token\",\"self\":{},\"next\":{},\"poolin\":1} | unknown key 'poolin'",
        "{\"name\":\"x\",\"pooling\":\"last_token\",\"self\":{\"sufix\":[]},\"next\":{}} | unknown key 'self.sufix'",
        "{\"name\":\"x\",\"pooling\":\"last_token\",\"self\":{},\"next\":{\"suffix\":[{\"txt\":\"a\"}]}} | unknown key 'next.suffix[0].txt'",
        "{\"pooling\":\"last_token\",\"self\":{},\"next\":{}} | key 'name' is missing",
        "{\"name\":3,\"pooling\":\"last_token\",\"self\":{},\"next\":{}} | key 'name' is 3; expected a string",
        "{\"name\":\"\",\"pooling\":\"last_token\",\"self\":{},\"next\":{}} | needs a name",
        "{\"name\":\"x\",\"self\":{},\"next\":{}} | key 'pooling' is missing",
        "{\"name\":\"x\",\"pooling\":\"cls\",\"self\":{},\"next\":{}} | 'cls'; expected last_token, mean_of_markers, mean_of_prompt, mean_of_text",
        "{\"name\":\"x\",\"pooling\":\"mean_of_markers\",\"self\":{},\"next\":{}} | SELF does not end",
        "{\"name\":\"x\",\"pooling\":\"last_token\",\"next\":{}} | key 'self' is missing",
        "{\"name\":\"x\",\"pooling\":\"last_token\",\"self\":[],\"next\":{}} | key 'self' is a list; expected an object",
        "{\"name\":\"x\",\"pooling\":\"last_token\",\"self\":{\"prefix\":\"a\"},\"next\":{}} | key 'self.prefix' is the string 'a'; expected a list",
        "{\"name\":\"x\",\"pooling\":\"last_token\",\"self\":{\"prefix\":[\"a\"]},\"next\":{}} | key 'self.prefix[0]' is the string 'a'; expected an object",
        "{\"name\":\"x\",\"pooling\":\"last_token\",\"self\":{\"prefix\":[{}]},\"next\":{}} | has 0 keys",
        "{\"name\":\"x\",\"pooling\":\"last_token\",\"self\":{\"prefix\":[{\"text\":\"\"}]},\"next\":{}} | must not be empty",
        "{\"name\":\"x\",\"pooling\":\"last_token\",\"self\":{\"prefix\":[{\"eos\":false}]},\"next\":{}} | key 'self.prefix[0].eos' is false; expected true",
      })
  void badJsonIsRefusedInWords(String json, String expected) {
    assertThatThrownBy(() -> PromptTemplate.fromJson(json))
        .isInstanceOf(ModelLoadException.class)
        .hasMessageStartingWith("prompt template:")
        .hasMessageContaining(expected);
  }

  @Test
  void deeplyNestedJsonIsRefused() {
    assertThatThrownBy(() -> PromptTemplate.fromJson("[".repeat(100_000)))
        .isInstanceOf(ModelLoadException.class)
        .hasMessageContaining("not valid JSON");
  }

  @Provide
  Arbitrary<PromptTemplate> templates() {
    Arbitrary<String> words = Arbitraries.strings().ofMinLength(1).ofMaxLength(8);
    Arbitrary<Part> part =
        Arbitraries.oneOf(words.map(Text::new), words.map(Token::new), Arbitraries.just(new Eos()));
    Arbitrary<Affix> affix =
        Combinators.combine(part.list().ofMaxSize(3), part.list().ofMaxSize(3)).as(Affix::new);
    return Combinators.combine(words.filter(name -> !name.isBlank()), affix, affix)
        .as((name, self, next) -> new PromptTemplate(name, self, next, Pooling.LAST_TOKEN));
  }
}

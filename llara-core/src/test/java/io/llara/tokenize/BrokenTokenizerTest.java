package io.llara.tokenize;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.LlaraException;
import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Wrong files give an error that names them; none reaches the native library to end the JVM. */
class BrokenTokenizerTest {
  @TempDir Path dir;

  @Test
  void absentFileIsNamed() {
    assertThatThrownBy(() -> Tokenizer.load(dir))
        .isInstanceOf(ModelLoadException.class)
        .hasMessageContaining(dir.resolve("tokenizer.json").toString())
        .hasMessageContaining("does not exist");
    assertThatThrownBy(() -> Tokenizer.load(dir.resolve("nowhere")))
        .isInstanceOf(ModelLoadException.class)
        .hasMessageContaining("nowhere");
  }

  @Test
  void directoryInItsPlaceIsAnError() throws IOException {
    Files.createDirectory(dir.resolve("tokenizer.json"));

    assertThatThrownBy(() -> Tokenizer.load(dir))
        .isInstanceOf(ModelLoadException.class)
        .hasMessageContaining("tokenizer.json");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "{",
        "[]",
        "null",
        "3",
        "{}",
        "{'model': {}}",
        "{\"model\": null}",
        "{\"model\": []}",
        "{\"model\": {}}",
        "{\"model\": {\"type\": \"BPE\"}}",
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {}, \"merges\": []}}",
        "{\"model\": {\"type\": \"BPE\", \"vocab\": 3, \"merges\": []}}",
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}}} x",
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"vocab\": {\"b\": 0}}}",
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": \"0\"}, \"merges\": []}}",
      })
  void brokenFilesAreNamed(String json) throws IOException {
    refuse(json);
  }

  @Test
  void hostileNestingIsRefused() throws IOException {
    refuse("[".repeat(1_000_000));
    refuse("{\"normalizer\":".repeat(100_000));
    refuse(
        "{\"normalizer\": "
            + "{\"type\":\"Sequence\",\"normalizers\":[".repeat(60)
            + "]}".repeat(60)
            + ", \"model\": {\"vocab\": {\"a\": 0}, \"merges\": []}}");
  }

  @Test
  void bytesThatAreNoUtf8AreRefused() throws IOException {
    Files.write(dir.resolve("tokenizer.json"), new byte[] {'{', '"', (byte) 0xff, '"'});

    assertThatThrownBy(() -> Tokenizer.load(dir))
        .isInstanceOf(ModelLoadException.class)
        .hasMessageContaining("UTF-8");
  }

  /** Most of these end the JVM when they reach the native library. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        // path | value | expected in the message
        "post_processor/special_tokens | {} | special_tokens.<s>' is missing",
        "post_processor/special_tokens/<s>/ids | [9999] | no token has it",
        "post_processor/special_tokens/<s>/ids | ['x'] | expected a whole number",
        "post_processor/special_tokens/<s>/ids | 3 | expected a list",
        "post_processor/single | [] | no place for the text",
        "post_processor/single | 3 | expected a list",
        "post_processor/single | [{'Sequense':{'id':'A'}}] | expected an object",
        "post_processor | {'type':'BertProcessing','sep':['</s>',2],'cls':['<s>',1]} | 'BertProcessing', which is not supported",
        "post_processor | {'type':'Sequence','processors':3} | expected a list",
        "post_processor | 3 | expected an object",
        "normalizer | {'type':'Precompiled','precompiled_charsmap':'BAAAAP////8='} | 'Precompiled', which is not supported",
        "normalizer | {'type':3} | 'normalizer.type' is 3",
        "normalizer | {'type':'Sequence'} | 'normalizer.normalizers' is missing",
        "normalizer | {'type':'Prepend'} | prepend",
        "normalizer | {'type':'Replace','pattern':{'Regex':'('},'content':''} | parenthesis",
        "normalizer | {'type':'Replace','pattern':{'Regex':'(a+)+$'},'content':''} | repeats a group",
        "normalizer | {'type':'Replace','pattern':{'String':'a'},'content':3} | expected a string",
        "normalizer | {'type':'Sequence','normalizers':[{'type':'NFKD'},{'type':'NFKD'},{'type':'NFKD'}]} | times as long",
        "pre_tokenizer | {'type':'UnicodeScripts'} | 'UnicodeScripts', which is not supported",
        "pre_tokenizer | {'type':'Split','pattern':{'Regex':'(?<n>a)\\\\k<n>'},'behavior':'Isolated'} | refers back",
        "pre_tokenizer | {'type':'Split','pattern':{'Regex':'x*x*x*x*y'},'behavior':'Isolated'} | one after another",
        "pre_tokenizer | {'type':'Split','pattern':{},'behavior':'Isolated'} | pattern.Regex' is missing",
        "pre_tokenizer | {'type':'Metaspace','replacement':'__'} | tokenizer.json",
        "decoder | {'type':'Strip','content':' ','start':0,'stop':5} | supported: 0",
        "decoder | {'type':'CTC'} | 'CTC', which is not supported",
        "model/dropout | 0.5 | dropout",
        "model/continuing_subword_prefix | '##' | continuing_subword_prefix",
        "model/end_of_word_suffix | '</w>' | end_of_word_suffix",
        "model/unk_token | 'nope' | expected a token of the vocab",
        "model/unk_token | 3 | expected a string",
        "model/type | 'WordPiece' | supported: BPE, Unigram",
        "model/type | 'Unigram' | the form of this vocab",
        "model/byte_fallback | 'yes' | tokenizer.json",
        "model/vocab/new | -1 | at most nine digits",
        "model/vocab/new | 4294967295 | at most nine digits",
        "model/vocab/new | 1.5 | at most nine digits",
        "model/vocab/new | null | expected a token id",
        "model/vocab/new | 5 | both have the token id 5",
        "model/vocab/ | 700 | empty string",
        "model/merges | ['a'] | expected two tokens",
        "model/merges | ['a b c'] | expected two tokens",
        "model/merges | [['a','b','c']] | expected two tokens",
        "model/merges | [['a']] | missing",
        "model/merges | [3] | expected a list",
        "model/merges | {} | expected a list",
        "model/merges | ['nope nope'] | tokenizer.json",
        "model/vocab | [['a',0],['a',0]] | twice",
        "model/vocab | [['a','b']] | expected a number",
        "model/vocab | [['a']] | expected a number",
        "model/vocab | [['a',0,1]] | a token and a score",
        "model/vocab | [['',0]] | empty string",
        "added_tokens | 3 | expected a list",
        "added_tokens | [{'id':600}] | 'added_tokens[0].content' is missing",
        "added_tokens | [{'content':'<x>'}] | 'added_tokens[0].id' is missing",
        "added_tokens | [{'id':600,'content':''}] | expected a name",
        "added_tokens | [{'id':600,'content':'<x>'},{'id':601,'content':'<x>'}] | twice",
        "added_tokens | [{'id':600,'content':'<x>'},{'id':600,'content':'<y>'}] | both have",
        "added_tokens | [{'id':600,'content':'</s>'}] | but 2 in model.vocab",
        "added_tokens | [{'id':600,'content':'<x>','special':1}] | true or false",
      })
  void wrongPartsAreNamed(String path, String value, String expected) throws IOException {
    TestTokenizers.changed(dir, json -> set(json, path, value));

    assertThatThrownBy(() -> Tokenizer.load(dir))
        .isInstanceOf(ModelLoadException.class)
        .hasMessageContaining(dir.resolve("tokenizer.json").toString())
        .hasMessageContaining(expected);
  }

  @Test
  void unsupportedKindsSayWhatIsSupported() throws IOException {
    TestTokenizers.changed(dir, json -> set(json, "normalizer", "{'type':'Nmt'}"));

    assertThatThrownBy(() -> Tokenizer.load(dir))
        .isInstanceOf(UnsupportedModelException.class)
        .hasMessageContaining("Nmt")
        .hasMessageContaining("Prepend");
  }

  @Test
  void halfASurrogateInTheFileIsRefused() throws IOException {
    Files.writeString(
        dir.resolve("tokenizer.json"),
        "{\"model\": {\"type\":\"BPE\", \"vocab\": {\"a\\ud83e\": 0}, \"merges\": []}}");

    assertThatThrownBy(() -> Tokenizer.load(dir))
        .isInstanceOf(ModelLoadException.class)
        .hasMessageContaining("half of a surrogate pair");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "tokenizer_config.json | { | tokenizer_config.json",
        "tokenizer_config.json | [] | expected a JSON object",
        "tokenizer_config.json | {\"eos_token\": 3} | expected an object",
        "tokenizer_config.json | {\"eos_token\": {}} | 'eos_token.content' is missing",
        "tokenizer_config.json | {\"eos_token\": \"<end>\"} | '<end>'; expected a token of tokenizer.json",
        "special_tokens_map.json | {\"eos_token\": []} | special_tokens_map.json",
        "config.json | {\"eos_token_id\": 512} | expected the id of a token",
        "config.json | {\"eos_token_id\": []} | expected the id of a token",
        "config.json | {\"eos_token_id\": \"2\"} | expected a whole number",
        "config.json | {\"eos_token_id\": 99999999999} | expected a whole number",
      })
  void wrongFilesBesideItAreNamed(String file, String json, String expected) throws IOException {
    TestTokenizers.changed(dir, unchanged -> {});
    Files.writeString(dir.resolve(file), json);

    assertThatThrownBy(() -> Tokenizer.load(dir))
        .isInstanceOf(ModelLoadException.class)
        .hasMessageContaining(file)
        .hasMessageContaining(expected);
  }

  @Test
  void byteLevelTokenizersWithTamePatternsLoad() throws IOException {
    TestTokenizers.changed(
        dir,
        json -> {
          set(json, "normalizer", "null");
          set(
              json,
              "pre_tokenizer",
              "{'type':'Sequence','pretokenizers':[{'type':'Split','pattern':{'Regex':'\\\\s+|\\\\S+'},"
                  + "'behavior':'Isolated','invert':false},{'type':'ByteLevel',"
                  + "'add_prefix_space':false,'trim_offsets':true,'use_regex':false}]}");
          set(
              json,
              "decoder",
              "{'type':'ByteLevel','add_prefix_space':true,'trim_offsets':true,'use_regex':true}");
        });
    try (Tokenizer tokenizer = Tokenizer.load(dir)) {
      assertThat(tokenizer.encodeText("red ball")).isNotEmpty();
    }
  }

  /** Random damage: an error of ours, or a tokenizer that works. More with -Dllara.fuzz.files. */
  @Test
  void mutatedFilesGiveErrorsOfOursOrWork() throws IOException {
    byte[] whole = Files.readAllBytes(TestTokenizers.stories().resolve("tokenizer.json"));
    Random random = new Random(20240521);
    int files = Integer.getInteger("llara.fuzz.files", 500);
    int refused = 0;
    for (int i = 0; i < files; i++) {
      byte[] bytes = i % 2 == 0 ? flip(whole, random) : splice(whole, random);
      Files.write(dir.resolve("tokenizer.json"), bytes);
      try (Tokenizer tokenizer = Tokenizer.load(dir)) {
        int[] ids = tokenizer.encodeText("Once upon a time </s> 🦙\u0000");
        assertThatCode(() -> tokenizer.decode(ids)).doesNotThrowAnyException();
        for (int id : ids) {
          assertThat(id).isBetween(0, tokenizer.vocabularySize() - 1);
        }
      } catch (LlaraException e) {
        assertThat(e.getMessage()).isNotBlank();
        refused++;
      }
    }
    assertThat(refused).isBetween(files / 10, files);
  }

  /** Changes a few bytes, half of the time outside the vocabulary, where damage tells most. */
  private static byte[] flip(byte[] whole, Random random) {
    byte[] bytes = whole.clone();
    int head = new String(whole, StandardCharsets.ISO_8859_1).indexOf("\"vocab\"");
    for (int n = 1 + random.nextInt(3); n > 0; n--) {
      int at = random.nextInt(random.nextBoolean() ? head : bytes.length);
      bytes[at] = (byte) (random.nextBoolean() ? 32 + random.nextInt(95) : random.nextInt(256));
    }
    return bytes;
  }

  /** Removes, repeats or moves a piece. */
  private static byte[] splice(byte[] whole, Random random) {
    String text = new String(whole, StandardCharsets.ISO_8859_1);
    int from = random.nextInt(text.length());
    int to = Math.min(text.length(), from + random.nextInt(40));
    int at = random.nextInt(text.length());
    String piece = text.substring(from, to);
    String spliced =
        switch (random.nextInt(3)) {
          case 0 -> text.substring(0, from) + text.substring(to);
          case 1 -> text.substring(0, at) + piece + text.substring(at);
          default -> text.substring(0, from) + text.substring(to, text.length()) + piece;
        };
    return spliced.getBytes(StandardCharsets.ISO_8859_1);
  }

  private void refuse(String json) throws IOException {
    Files.writeString(dir.resolve("tokenizer.json"), json);
    assertThatThrownBy(() -> Tokenizer.load(dir))
        .isInstanceOf(ModelLoadException.class)
        .hasMessageContaining(dir.resolve("tokenizer.json").toString());
  }

  /** Sets the value at a path of keys; the last key may be new. */
  private static void set(JsonObject json, String path, String value) {
    String[] keys = path.split("/", -1);
    JsonObject parent = json;
    for (int i = 0; i < keys.length - 1; i++) {
      parent = parent.getAsJsonObject(keys[i]);
    }
    JsonElement parsed = JsonParser.parseString(value);
    parent.add(keys[keys.length - 1], parsed);
  }
}

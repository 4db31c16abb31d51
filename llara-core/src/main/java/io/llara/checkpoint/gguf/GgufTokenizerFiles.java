package io.llara.checkpoint.gguf;

import com.google.gson.JsonObject;
import io.llara.io.AtomicFiles;
import io.llara.tokenize.BpeTokenizer;
import io.llara.tokenize.BpeTokenizer.AddedToken;
import java.nio.file.Path;

/**
 * Writes the vocabulary of a GGUF file as Hugging Face's libraries and {@code
 * io.llara.tokenize.Tokenizer} read it: {@code tokenizer.json}, {@code tokenizer_config.json},
 * {@code special_tokens_map.json}.
 */
final class GgufTokenizerFiles {
  private final GgufVocabulary vocabulary;
  private final BpeTokenizer tokenizer;

  GgufTokenizerFiles(GgufVocabulary vocabulary) {
    this.vocabulary = vocabulary;
    this.tokenizer = vocabulary.tokenizer();
  }

  /** Writes the three files into a directory. */
  void write(Path dir, int maxTokens) {
    AtomicFiles.writeJson(dir.resolve("tokenizer.json"), tokenizer.toJson());
    AtomicFiles.writeJson(dir.resolve("special_tokens_map.json"), names());
    AtomicFiles.writeJson(dir.resolve("tokenizer_config.json"), settings(maxTokens));
  }

  private JsonObject names() {
    JsonObject names = new JsonObject();
    vocabulary.specials().forEach((role, id) -> names.addProperty(role, vocabulary.token(id)));
    return names;
  }

  private JsonObject settings(int maxTokens) {
    JsonObject settings = new JsonObject();
    JsonObject added = new JsonObject();
    for (AddedToken token : tokenizer.added()) {
      added.add(Integer.toString(token.id()), token.toJson());
    }
    settings.addProperty("add_bos_token", tokenizer.bos().isPresent());
    settings.addProperty("add_eos_token", tokenizer.eos().isPresent());
    settings.add("added_tokens_decoder", added);
    names().asMap().forEach(settings::add);
    vocabulary
        .chatTemplate()
        .ifPresent(template -> settings.addProperty("chat_template", template));
    settings.addProperty("clean_up_tokenization_spaces", false);
    settings.addProperty("model_max_length", maxTokens);
    // The class that takes a tokenizer.json as it is; others rebuild parts of it.
    settings.addProperty("tokenizer_class", "PreTrainedTokenizerFast");
    return settings;
  }
}

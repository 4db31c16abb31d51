package io.llara.examples.golden;

import io.llara.LlaraException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * How many tokens follow the text of a joint prompt. A collated batch tells prefix, text and what
 * follows apart, but not where one suffix ends and the other begins.
 *
 * @param self tokens of the SELF suffix
 * @param next tokens of the NEXT suffix
 * @param pooled tokens at the end of each that make its embedding
 */
record Suffixes(int self, int next, int pooled) {
  /** The name of the released recipe in golden folders. */
  private static final String RELEASED_NAME = "llara";

  /** As published, with LLaMA-2's tokenizer. */
  private static final Suffixes RELEASED = new Suffixes(19, 18, 8);

  /**
   * Returns those of a case's recipe, the released one if it names none: as the prompts of {@code
   * encode.json} in the folder have them, or of the released recipe as published.
   */
  static Suffixes of(GoldenFile file, GoldenJson json) {
    String recipe = json.optionalString("recipe").orElse(RELEASED_NAME);
    Path prompts = file.beside("encode.json");
    if (Files.isRegularFile(prompts)) {
      for (GoldenJson one : GoldenJson.read(prompts).objects("cases")) {
        if (one.string("recipe").equals(recipe)) {
          return new Suffixes(
              one.ints("self_suffix_ids").length,
              one.ints("next_suffix_ids").length,
              ForwardCase.pooledTokens(one));
        }
      }
    }
    if (recipe.equals(RELEASED_NAME)) {
      return RELEASED;
    }
    throw new LlaraException(
        "%s: the prompts of recipe '%s' are not known: encode.json has no case of it"
            .formatted(json.where(), recipe));
  }

  int total() {
    return self + next;
  }
}

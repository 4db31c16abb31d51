package io.llara.train.pretrain;

import io.llara.prompt.Prompt;
import io.llara.train.data.Example;
import io.llara.train.run.TrainingExample;

/**
 * A text and what is to be predicted from it.
 *
 * @param self what the SELF embedding must predict
 * @param next what the NEXT embedding must predict
 */
record TextExample(Prompt prompt, Bag self, Bag next, String origin) implements TrainingExample {

  /**
   * Makes the bags that a recipe wants.
   *
   * @param bosTokens how many tokens at the beginning of each target are not its text's
   */
  static TextExample of(Example example, Recipe recipe, int bosTokens) {
    return new TextExample(
        example.prompt(),
        recipe.bag(example.selfTargets().toArray(), bosTokens),
        recipe.bag(example.nextTargets().toArray(), bosTokens),
        example.origin());
  }

  @Override
  public long tokens() {
    return prompt.length();
  }

  /** The first id of the text is predicted from the last one before it, if there is one. */
  int labelledTokens() {
    return prompt.textLength() - (prompt.prefixLength() == 0 ? 1 : 0);
  }
}

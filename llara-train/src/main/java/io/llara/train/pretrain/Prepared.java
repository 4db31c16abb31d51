package io.llara.train.pretrain;

import io.llara.prompt.Prompt;
import io.llara.train.data.Example;

/** An example with its bags made; what it adds to the counts of a batch. */
record Prepared(Example example, Bag self, Bag next) {

  static Prepared of(Example example, Recipe recipe, int bosTokens) {
    return new Prepared(
        example,
        recipe.bag(example.selfTargets().toArray(), bosTokens),
        recipe.bag(example.nextTargets().toArray(), bosTokens));
  }

  Prompt prompt() {
    return example.prompt();
  }

  /** The first id of the text is predicted from the last one before it, if there is one. */
  int labelledTokens() {
    return prompt().textLength() - (prompt().prefixLength() == 0 ? 1 : 0);
  }

  LossTerms counts() {
    return new LossTerms(labelledTokens(), self.isEmpty() ? 0 : 1, next.isEmpty() ? 0 : 1);
  }
}

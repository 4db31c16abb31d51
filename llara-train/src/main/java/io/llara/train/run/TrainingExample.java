package io.llara.train.run;

import io.llara.Internal;

/** An example of a batch, ready for the model. */
@Internal
public interface TrainingExample {

  /** Returns the number of tokens of all its prompts. */
  long tokens();

  /** Returns where it was read, for messages. */
  String origin();
}

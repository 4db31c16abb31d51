package io.llara.train.run;

import io.llara.Internal;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlaraJson;
import io.llara.tokenize.Tokenizer;
import io.llara.train.distributed.Communicator;
import io.llara.train.model.TrainedModel;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;

/** What a run trains on: all that differs from one kind of training to another. */
@Internal
public interface TrainingTask {

  /** Makes a task of a run's inputs, and refuses those that cannot be used. */
  @FunctionalInterface
  interface Factory {
    /**
     * Opens the data; nothing is written yet.
     *
     * @param tokenizer stays the run's
     * @throws io.llara.LlaraException if model or data cannot be used
     */
    TrainingTask create(CheckpointDirectory checkpoint, Tokenizer tokenizer);
  }

  /** Returns how many examples the data has; it may be read through for that. */
  long countExamples();

  /** Returns the settings of this task that decide the numbers of the run, by name. */
  Map<String, String> deciding();

  /** Returns the token ids of the markers in the prompts, ascending. */
  int[] markerIds();

  /** Returns whether the loss has to do with the projection on the vocabulary. */
  boolean needsHead();

  /** Gets ready to train. What it is given stays the run's. */
  Course begin(TrainedModel model, Lanes lanes, Communicator communicator);

  /** Returns what the trained model says of itself; empty for what the model it began with says. */
  Optional<LlaraJson> trainedWith();

  /** Writes what belongs into the run's directory beside the trained model. */
  default void writeBeside(TrainedModel model, Path out) {}

  /** A task under way. For one thread. */
  interface Course extends AutoCloseable {

    /** Returns what is minimised. */
    Objective objective();

    /**
     * Goes on where a run was.
     *
     * @param step the last step that was made
     * @param position how many examples all processes had drawn
     */
    void goOnAfter(long step, long position);

    /** Returns what is done between steps. */
    default Interlude interlude() {
      return Interlude.NONE;
    }

    @Override
    void close();
  }
}

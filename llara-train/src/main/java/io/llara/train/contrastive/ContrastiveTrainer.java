package io.llara.train.contrastive;

import io.llara.prompt.PromptTemplate;
import io.llara.train.Trainer;
import io.llara.train.TrainingResult;
import io.llara.train.data.FewNegatives;
import io.llara.train.run.RunBuilder;
import io.llara.train.run.TrainingRun;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Fine-tunes an embedding model on queries and their passages (arXiv 2312.15503, section 3.3): the
 * embedding of a query, in mode NEXT, is to be nearer to that of its passage, in mode SELF, than to
 * those of all other passages of the batch. Those are hard negatives of the query's own and all
 * passages of the other queries, of all processes.
 *
 * <pre>{@code
 * ContrastiveTrainer trainer =
 *     ContrastiveTrainer.builder(
 *             Path.of("adapted"), List.of(Path.of("mined.jsonl.gz")), Path.of("tuned"))
 *         .lora(LoraOptions.DEFAULT)
 *         .epochs(1)
 *         .batch(32)
 *         .negatives(7)
 *         .temperature(0.02)
 *         .queryMaxTokens(64)
 *         .passageMaxTokens(256)
 *         .heldOut(0.02)
 *         .build();
 * TrainingResult result = trainer.run();
 *
 * try (Encoder encoder = Encoder.load(result.model())) {
 *   float[] query = encoder.encodeQuery("Where do llamas live?");
 *   float[] passage = encoder.encodePassage("The llama is a South American camelid.");
 *   double score = Similarity.cosine(query, passage);
 * }
 * }</pre>
 *
 * <p>A line of data is {@code {"query": …, "pos": […], "neg": […]}}, see {@link
 * io.llara.train.data.Dataset<TrainingPair>}. For each query one positive and {@code negatives}
 * negatives are drawn. With similarities {@code s = q · p}, the loss is InfoNCE: {@code −log
 * (exp(s⁺ / T) / Σ exp(s / T))}, where the sum is over all passages of the batch, averaged over its
 * queries. The embeddings have length 1 unless {@link Builder#normalize} says otherwise; then
 * {@code s} is a plain dot product, divided by the temperature all the same. ({@code accuracy} is
 * the share of queries whose positive has the highest similarity.)
 *
 * <p>The output directory gets what a {@link io.llara.train.pretrain.Pretrainer}'s gets: metrics,
 * settings, manifest, checkpoints, and at the end the trained model, updates merged, with a {@code
 * llara.json} that names the lengths trained on. With LoRA there is {@code adapter/} too, the
 * updates alone as the PEFT library stores them. A run that ended early, however it ended, goes on
 * from its newest whole checkpoint when it is built and run again with the same settings, with the
 * same losses as if it had never ended.
 *
 * <p>{@link #stop} may be called from any thread; everything else is for one thread.
 */
public final class ContrastiveTrainer implements Trainer {
  /** The queries of a step unless told otherwise. */
  public static final int DEFAULT_BATCH = 16;

  /** The temperature unless told otherwise. */
  public static final double DEFAULT_TEMPERATURE = 0.02;

  /** The hard negatives of a query unless told otherwise, as in the released recipe. */
  public static final int DEFAULT_NEGATIVES = 15;

  /** The most tokens of a query's prompt unless told otherwise. */
  public static final int DEFAULT_QUERY_MAX_TOKENS = 64;

  /** The most tokens of a passage's prompt unless told otherwise. */
  public static final int DEFAULT_PASSAGE_MAX_TOKENS = 256;

  /** The folder of the adapter in the directory of a run with LoRA. */
  public static final String ADAPTER_FOLDER = "adapter";

  private final ContrastiveSettings settings;
  private volatile boolean stopRequested;

  private ContrastiveTrainer(ContrastiveSettings settings) {
    this.settings = settings;
  }

  /**
   * Begins to describe a run.
   *
   * @param model the checkpoint to begin with, with the markers of its prompt; best an adapted one
   * @param pairs JSONL files, see {@link io.llara.train.data.Dataset<TrainingPair>}
   * @param out the directory of the run; made if it does not exist
   */
  public static Builder builder(Path model, List<Path> pairs, Path out) {
    return new Builder(model, pairs, out);
  }

  @Override
  public TrainingResult run() {
    return new TrainingRun(
            settings.options(),
            settings.maxTokens(),
            (checkpoint, tokenizer) -> new ContrastiveTask(settings, checkpoint, tokenizer))
        .run(() -> stopRequested || Thread.currentThread().isInterrupted());
  }

  @Override
  public void stop() {
    stopRequested = true;
  }

  /** Collects the settings of a run. Not thread-safe. */
  public static final class Builder extends RunBuilder<Builder> {
    private double temperature = DEFAULT_TEMPERATURE;
    private boolean normalize = true;
    private int negatives = DEFAULT_NEGATIVES;
    private FewNegatives fewNegatives = FewNegatives.REPEAT;
    private int queryMaxTokens = DEFAULT_QUERY_MAX_TOKENS;
    private int passageMaxTokens = DEFAULT_PASSAGE_MAX_TOKENS;
    private TextModes modes = TextModes.N2S;
    private int subBatch;
    private Optional<PromptTemplate> template = Optional.empty();
    private Optional<Refresh> refresh = Optional.empty();

    private Builder(Path model, List<Path> pairs, Path out) {
      super(model, pairs, out, DEFAULT_BATCH, false);
    }

    @Override
    protected Builder self() {
      return this;
    }

    /**
     * Sets the queries of a step, over all processes; {@value #DEFAULT_BATCH} by default. The
     * passages of all of them are each other's negatives: a larger batch is a harder task.
     */
    @Override
    public Builder batch(int queries) {
      return super.batch(queries);
    }

    /**
     * Sets whether with LoRA the embeddings of the prompt's marker tokens train too, while the rest
     * of the matrix is frozen. By default they do not, as in the released recipe: the adapter then
     * is LoRA's factors alone. Otherwise it brings the whole embedding matrix with it.
     */
    @Override
    public Builder trainMarkers(boolean train) {
      return super.trainMarkers(train);
    }

    /** Sets what similarities are divided by; {@value #DEFAULT_TEMPERATURE} by default. */
    public Builder temperature(double temperature) {
      this.temperature = temperature;
      return this;
    }

    /**
     * Sets whether embeddings are scaled to length 1; by default they are. Without it, similarities
     * are of another magnitude, and so should the temperature be: the reference code takes 1.
     */
    public Builder normalize(boolean normalize) {
      this.normalize = normalize;
      return this;
    }

    /**
     * Sets how many hard negatives of its own a query has in a step; {@value #DEFAULT_NEGATIVES} by
     * default, 0 for those of the batch alone.
     */
    public Builder negatives(int count) {
      this.negatives = count;
      return this;
    }

    /**
     * Sets what happens to queries with fewer negatives in the data; {@link FewNegatives#REPEAT} by
     * default.
     */
    public Builder fewNegatives(FewNegatives few) {
      this.fewNegatives = few;
      return this;
    }

    /**
     * Sets the most tokens of a query's prompt, suffix included; {@value #DEFAULT_QUERY_MAX_TOKENS}
     * by default. Longer texts are cut at their end.
     */
    public Builder queryMaxTokens(int tokens) {
      this.queryMaxTokens = tokens;
      return this;
    }

    /**
     * Sets the most tokens of a passage's prompt, suffix included; {@value
     * #DEFAULT_PASSAGE_MAX_TOKENS} by default. Longer texts are cut at their end.
     */
    public Builder passageMaxTokens(int tokens) {
      this.passageMaxTokens = tokens;
      return this;
    }

    /**
     * Sets the modes of queries and passages; {@link TextModes#N2S} by default, which is what
     * {@link io.llara.Encoder#encodeQuery} and {@link io.llara.Encoder#encodePassage} take. A model
     * trained otherwise is to be used with {@link io.llara.Encoder#encode} in the modes given here.
     */
    public Builder modes(TextModes modes) {
      this.modes = modes;
      return this;
    }

    /**
     * Sets the prompts; by default those of the model's {@code llara.json}, without one those of
     * the released recipe if the tokenizer has its markers, else the paper's.
     */
    public Builder template(PromptTemplate template) {
      this.template = Optional.of(template);
      return this;
    }

    /**
     * Sets about how many texts a lane runs forward and backward at once (GradCache, arXiv
     * 2101.06983): all embeddings are made first, without keeping what a backward pass needs, then
     * made again part by part with their gradients. The same loss and gradients, in memory for so
     * many texts instead of the whole batch, for about a third more time. By default 0: all at
     * once.
     */
    public Builder subBatch(int texts) {
      this.subBatch = texts;
      return this;
    }

    /** Has negatives mined anew while training goes on; by default they stay. */
    public Builder refresh(Refresh refresh) {
      this.refresh = Optional.of(refresh);
      return this;
    }

    @Override
    public ContrastiveTrainer build() {
      List<String> problems = new ArrayList<>();
      require(problems, batchDividesInto(1), batchCannotBeDivided());
      require(
          problems,
          temperature > 0 && Double.isFinite(temperature),
          "the temperature is " + temperature);
      require(problems, negatives >= 0, "negatives must be 0 or more");
      require(problems, queryMaxTokens >= 2, "the most tokens of a query must be at least 2");
      require(problems, passageMaxTokens >= 2, "the most tokens of a passage must be at least 2");
      require(problems, subBatch >= 0, "the sub-batch must be 0 texts or more");
      return new ContrastiveTrainer(
          new ContrastiveSettings(
              options(trainsAllParameters() ? 1e-5 : 1e-4, problems),
              temperature,
              normalize,
              negatives,
              fewNegatives,
              queryMaxTokens,
              passageMaxTokens,
              modes,
              subBatch,
              template,
              refresh));
    }
  }
}

package io.llara.train.contrastive;

import io.llara.TextModes;
import io.llara.prompt.PromptTemplate;
import io.llara.train.Trainer;
import io.llara.train.TrainingResult;
import io.llara.train.data.FewNegatives;
import io.llara.train.data.GroupSampler;
import io.llara.train.data.TrainingPair;
import io.llara.train.model.AdapterDirectory;
import io.llara.train.model.TrainedModel;
import io.llara.train.run.BaseModel;
import io.llara.train.run.Examples;
import io.llara.train.run.RetrievalEvaluations;
import io.llara.train.run.RunBuilder;
import io.llara.train.run.RunDirectory;
import io.llara.train.run.RunOptions;
import io.llara.train.run.StepHook;
import io.llara.train.run.TrainingLoop;
import io.llara.train.run.TrainingMemory;
import io.llara.train.run.Workers;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Consumer;

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
  /** The queries of a step by default. */
  public static final int DEFAULT_BATCH = 16;

  /** The temperature by default. */
  public static final double DEFAULT_TEMPERATURE = 0.02;

  /** The hard negatives of a query by default, as in the released recipe. */
  public static final int DEFAULT_NEGATIVES = 15;

  /** The most tokens of a query's prompt by default. */
  public static final int DEFAULT_QUERY_MAX_TOKENS = 64;

  /** The most tokens of a passage's prompt by default. */
  public static final int DEFAULT_PASSAGE_MAX_TOKENS = 256;

  /** The folder of the adapter in the directory of a run with LoRA. */
  public static final String ADAPTER_FOLDER = "adapter";

  final Options options;
  private volatile boolean stopRequested;

  private ContrastiveTrainer(Options options) {
    this.options = options;
  }

  /** The options, checked and with every default filled in; {@link Builder} says what they mean. */
  record Options(
      RunOptions run,
      ContrastiveLoss loss,
      GroupSampler groups,
      Prompts prompts,
      int subBatch,
      Optional<Refresh> refresh) {

    /** What queries and passages become. */
    record Prompts(TextModes modes, int queryMaxTokens, int passageMaxTokens) {}

    /** Returns by name what decides the results of a run, as {@code run.json} has it. */
    Map<String, String> deciding(PromptTemplate template) {
      Map<String, String> values = new LinkedHashMap<>();
      values.put("objective", "InfoNCE");
      values.put("template", BaseModel.spelled(template));
      values.put("temperature", String.valueOf(loss.infoNce().temperature()));
      values.put("normalize", String.valueOf(loss.infoNce().normalized()));
      values.put("negatives", String.valueOf(groups.negatives()));
      values.put("few negatives", groups.few().toString());
      values.put("query max tokens", String.valueOf(prompts.queryMaxTokens()));
      values.put("passage max tokens", String.valueOf(prompts.passageMaxTokens()));
      values.put("modes", prompts.modes().spelled());
      values.put("sub-batch", String.valueOf(subBatch));
      values.put("refresh", refresh.map(Refresh::spelled).orElse("none"));
      loss.addDeciding(values);
      return values;
    }
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
    int maxTokens =
        Math.max(options.prompts().queryMaxTokens(), options.prompts().passageMaxTokens());
    try (BaseModel base = new BaseModel(options.run(), maxTokens)) {
      RetrievalEvaluations.Collections collections =
          RetrievalEvaluations.Collections.open(options.run());
      try (ContrastiveData data = new ContrastiveData(options, base);
          Examples<TrainingPair, PairExample> examples = data.examples();
          RunDirectory directory =
              RunDirectory.claim(
                  options.run(), options.deciding(data.template()), examples::count)) {
        Optional<TrainingResult> finished = directory.finished();
        if (finished.isPresent()) {
          return finished.get();
        }
        try (Workers workers = Workers.start(options.run().compute());
            TrainedModel model = base.load(Optional.of(data.template()), false, pass());
            ContrastiveObjective objective = objective(model, workers, data.teacherDimension());
            TrainingLoop<PairExample> loop =
                new TrainingLoop<>(directory, model, examples, objective, workers)) {
          // On a lane: they have nothing else to do between steps.
          Consumer<Path> writeModel =
              dir -> workers.lanes().run(() -> base.write(model, dir, data.trainedWith()));
          List<StepHook> hooks = new ArrayList<>();
          hooks.add(
              new RetrievalEvaluations(
                  options.run(),
                  collections,
                  workers.communicator(),
                  dir -> workers.lanes().run(() -> write(base, model, data, dir))));
          if (options.refresh().isPresent()) {
            hooks.add(new Refreshes(options, data, examples, workers.communicator(), writeModel));
          }
          return loop.run(
              hooks,
              () -> stopRequested || Thread.currentThread().isInterrupted(),
              () -> write(base, model, data, options.run().output().directory()));
        }
      }
    }
  }

  private TrainingMemory.Pass pass() {
    Options.Prompts prompts = options.prompts();
    long queries = options.run().data().batch() / options.run().compute().ranks();
    long passages = queries * (1 + options.groups().negatives());
    long all = queries * prompts.queryMaxTokens() + passages * prompts.passageMaxTokens();
    long some =
        (long) options.subBatch()
            * options.run().compute().threads()
            * Math.max(prompts.queryMaxTokens(), prompts.passageMaxTokens());
    return new TrainingMemory.Pass(options.subBatch() == 0 ? all : Math.min(all, some), 0);
  }

  private ContrastiveObjective objective(
      TrainedModel model, Workers workers, OptionalInt teacherDimension) {
    return new ContrastiveObjective(
        options.loss(),
        new GradCache(
            model, workers.lanes(), options.run().compute().recompute(), options.subBatch()),
        workers,
        teacherDimension);
  }

  private void write(BaseModel base, TrainedModel model, ContrastiveData data, Path out) {
    base.write(model, out, data.trainedWith());
    RunOptions.Model trained = options.run().model();
    Path adapter = out.resolve(ADAPTER_FOLDER);
    if (trained.adapter().isPresent()) {
      AdapterDirectory.writeContinued(
          model,
          trained.adapter().get(),
          trained.lora().orElseThrow().dropout(),
          trained.path(),
          adapter);
    } else if (trained.lora().isPresent()) {
      AdapterDirectory.write(model, trained.lora().get(), trained.path(), adapter);
    }
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
    private Optional<Refresh> refresh = Optional.empty();
    private double infoNceWeight = 1;
    private Distillation distillation = Distillation.NONE;
    private Matryoshka matryoshka = Matryoshka.NONE;

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
     * Sets the modes of queries and passages; {@link TextModes#N2S} by default. The trained model
     * names them, so that {@link io.llara.Encoder#encodeQuery} and {@link
     * io.llara.Encoder#encodePassage} take them.
     */
    public Builder modes(TextModes modes) {
      this.modes = modes;
      return this;
    }

    /**
     * Sets the prompts; by default those of the model's {@code llara.json}, without one those of
     * the released recipe if the tokenizer has its markers, else the paper's.
     */
    @Override
    public Builder template(PromptTemplate template) {
      return super.template(template);
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

    /** Sets when negatives are refreshed while training goes on; by default they stay. */
    public Builder refresh(Refresh refresh) {
      this.refresh = Optional.of(refresh);
      return this;
    }

    /** Adds losses of what a teacher says; none by default. */
    public Builder distillation(Distillation distillation) {
      this.distillation = distillation;
      return this;
    }

    /** Sets the weight of InfoNCE beside a distillation; 1 by default, 0 for a teacher alone. */
    public Builder infoNceWeight(double weight) {
      this.infoNceWeight = weight;
      return this;
    }

    /**
     * Sets which prefixes of the embedding are to be usable by themselves; by default the whole
     * alone.
     */
    public Builder matryoshka(Matryoshka matryoshka) {
      this.matryoshka = matryoshka;
      return this;
    }

    @Override
    public ContrastiveTrainer build() {
      List<String> problems = new ArrayList<>();
      requireDivisible(problems, 1);
      require(
          problems,
          temperature > 0 && Double.isFinite(temperature),
          "the temperature is " + temperature);
      require(problems, negatives >= 0, "negatives must be 0 or more");
      require(problems, queryMaxTokens >= 2, "the most tokens of a query must be at least 2");
      require(problems, passageMaxTokens >= 2, "the most tokens of a passage must be at least 2");
      require(problems, subBatch >= 0, "the sub-batch must be 0 texts or more");
      require(
          problems,
          infoNceWeight >= 0 && Double.isFinite(infoNceWeight),
          "the weight of InfoNCE is " + infoNceWeight);
      require(
          problems,
          infoNceWeight != 0 || !distillation.equals(Distillation.NONE),
          "the weight of InfoNCE is 0, and there is no teacher");
      require(
          problems,
          distillation.scores() == 0 || refresh.isEmpty(),
          "negatives that are refreshed have no scores of a teacher");
      RunOptions run = options(1e-5, 1e-4, problems);
      if (refresh.isPresent() && !run.data().mixture().equals(RunOptions.Mixture.EVEN)) {
        throw new IllegalArgumentException(
            "refreshed negatives are one file; weights of files and batches of one source need"
                + " several");
      }
      if (run.data().batch() == 1 && negatives == 0) {
        throw new IllegalArgumentException(
            "a batch of 1 query with 0 negatives: its positive passage is the only one");
      }
      return new ContrastiveTrainer(
          new Options(
              run,
              new ContrastiveLoss(
                  new InfoNce(temperature, normalize), infoNceWeight, distillation, matryoshka),
              new GroupSampler(negatives, fewNegatives, run.seed()),
              new Options.Prompts(modes, queryMaxTokens, passageMaxTokens),
              subBatch,
              refresh));
    }
  }
}

package io.llara.spark;

import static java.util.Objects.requireNonNull;

import io.llara.BlankTexts;
import io.llara.ComputeType;
import io.llara.Encoder;
import java.util.Arrays;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.spark.SparkContext;
import org.apache.spark.ml.Transformer;
import org.apache.spark.ml.param.IntParam;
import org.apache.spark.ml.param.Param;
import org.apache.spark.ml.param.ParamMap;
import org.apache.spark.ml.param.ParamValidators;
import org.apache.spark.ml.util.DefaultParamsReader;
import org.apache.spark.ml.util.DefaultParamsWritable;
import org.apache.spark.ml.util.Identifiable$;
import org.apache.spark.ml.util.MLReader;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.StructType;
import org.jspecify.annotations.Nullable;

/**
 * Embeds a column of texts: a transformer of Spark ML, for pipelines or alone.
 *
 * <pre>{@code
 * Dataset<Row> vectors =
 *     new TextEmbedder().setModel("BAAI/LLARA-passage").setInputCol("text").transform(passages);
 * }</pre>
 *
 * <p>The column of vectors, {@code array<float>}, comes last; all others stay. A null has a null
 * vector; blank texts are refused, or what {@link #setBlankTexts} says. A text that is too long is
 * cut, and counted.
 *
 * <p>All tasks of an executor share one encoder, opened by the first of them and closed when the
 * executor ends. Its forward passes run on as many threads as the executor has cores. A task hands
 * it {@link #setBatchTokens some thousand tokens} at a time. What these are depends on the
 * partition alone: a partition that is computed again, on whichever executor, has the same vectors
 * to the last bit on processors of the same kind. Those of other partitions, or of {@link
 * Encoder#encodeAll}, are the same by cosine ≥ 0.999999 in float32.
 *
 * <p>A failed text fails its task, which Spark tries again before it fails the job. As with all
 * transformers, nothing runs before an action does. Not thread-safe while it is set up.
 */
public final class TextEmbedder extends Transformer implements DefaultParamsWritable {
  private static final long serialVersionUID = 1L;

  private final String uid;
  private final Param<String> model;
  private final Param<String> inputCol;
  private final Param<String> outputCol;
  private final Param<String> inputType;
  private final Param<String> computeType;
  private final Param<String> device;
  private final Param<String> blankTexts;
  private final IntParam maxTokens;
  private final IntParam dimension;
  private final IntParam threads;
  private final IntParam batchTokens;

  /** Null in a copy that came to an executor, which has no use for it. */
  private transient @Nullable Counters counters;

  /** What the texts are. */
  public enum InputType {
    /** Queries to search with: {@link Encoder#forQueries} in the mode of queries. */
    QUERY,
    /** Passages to be found: {@link Encoder#forPassages} in the mode of passages. */
    PASSAGE
  }

  /**
   * Creates an embedder of passages in the column {@code text} with the model on the class path.
   */
  public TextEmbedder() {
    this(Identifiable$.MODULE$.randomUID("TextEmbedder"));
  }

  /** Creates an embedder of a given name, as {@link #read} does. */
  public TextEmbedder(String uid) {
    this.uid = requireNonNull(uid, "uid");
    model = text("model", "a model directory that every executor has, or owner/name of the hub");
    inputCol = text("inputCol", "the column of the texts");
    outputCol = text("outputCol", "the column of the vectors");
    inputType = text("inputType", "what the texts are: " + names(InputType.values()));
    computeType = text("computeType", "the type to compute in: " + names(ComputeType.values()));
    device = text("device", "the device to compute on, such as cpu or cuda:0");
    blankTexts = text("blankTexts", "what becomes of blank texts: " + names(BlankTexts.values()));
    maxTokens = number("maxTokens", "the longest prompt, in tokens");
    dimension = number("dimension", "the length of the vectors");
    threads = number("threads", "how many threads of an executor run forward passes");
    batchTokens = number("batchTokens", "how many tokens a task hands to the encoder at a time");
    counters = new Counters();
    setDefault(inputCol, "text");
    setDefault(outputCol, "embedding");
    setDefault(inputType, InputType.PASSAGE.name());
    setDefault(computeType, ComputeType.AUTO.name());
    setDefault(device, "cpu");
    setDefault(blankTexts, BlankTexts.REFUSE.name());
    setDefault(batchTokens, 1 << 15);
  }

  private Param<String> text(String name, String doc) {
    return new Param<>(this, name, doc);
  }

  private IntParam number(String name, String doc) {
    return new IntParam(this, name, doc, ParamValidators.gt(0));
  }

  private static String names(Enum<?>[] values) {
    return Stream.of(values).map(Enum::name).collect(Collectors.joining(", "));
  }

  /**
   * Sets the model: a directory, or {@code owner/name} or {@code owner/name@revision} of the
   * Hugging Face hub. By default the model on the class path ({@code llara-mini}).
   *
   * <p>A directory has to be there on every executor; a relative one is also looked for among the
   * files that Spark brings ({@code --archives model.zip#my-model}). A model of the hub is
   * downloaded by each host; name a commit as the revision, so that all have the same.
   */
  public TextEmbedder setModel(String value) {
    set(model, value);
    return this;
  }

  /** Sets the column of the texts, {@code text} by default. */
  public TextEmbedder setInputCol(String value) {
    set(inputCol, value);
    return this;
  }

  /** Sets the column of the vectors, {@code embedding} by default. */
  public TextEmbedder setOutputCol(String value) {
    set(outputCol, value);
    return this;
  }

  /** Sets what the texts are, {@link InputType#PASSAGE} by default. */
  public TextEmbedder setInputType(InputType value) {
    set(inputType, value.name());
    return this;
  }

  /** Sets the type to compute in, {@link ComputeType#AUTO} by default. */
  public TextEmbedder setComputeType(ComputeType value) {
    set(computeType, value.name());
    return this;
  }

  /**
   * Sets the device to compute on, as {@link io.llara.EncoderBuilder#device}; {@code cpu} by
   * default.
   */
  public TextEmbedder setDevice(String value) {
    set(device, value);
    return this;
  }

  /**
   * Sets what becomes of texts that are empty or nothing but white space: they fail the job, which
   * is the default, get a null as {@link BlankTexts#SKIP}, or zeros.
   */
  public TextEmbedder setBlankTexts(BlankTexts value) {
    set(blankTexts, value.name());
    return this;
  }

  /** Sets the longest prompt in tokens; by default what the model was trained with. */
  public TextEmbedder setMaxTokens(int value) {
    set(maxTokens, value);
    return this;
  }

  /** Cuts vectors to their first components; by default as the model says. */
  public TextEmbedder setDimension(int value) {
    set(dimension, value);
    return this;
  }

  /**
   * Sets how many threads of an executor run forward passes; by default one for each of its cores:
   * {@code spark.executor.cores}, or all processors where that is not set.
   */
  public TextEmbedder setThreads(int value) {
    set(threads, value);
    return this;
  }

  /**
   * Sets how many tokens of prompts a task collects before it hands them to the encoder, which cuts
   * them into batches by length; 32,768 by default. Their rows are in memory until then.
   */
  public TextEmbedder setBatchTokens(int value) {
    set(batchTokens, value);
    return this;
  }

  /** Returns the parameter of {@link #setModel}. */
  public Param<String> model() {
    return model;
  }

  /** Returns the parameter of {@link #setInputCol}. */
  public Param<String> inputCol() {
    return inputCol;
  }

  /** Returns the parameter of {@link #setOutputCol}. */
  public Param<String> outputCol() {
    return outputCol;
  }

  /** Returns the parameter of {@link #setInputType}: a name of {@link InputType}. */
  public Param<String> inputType() {
    return inputType;
  }

  /** Returns the parameter of {@link #setComputeType}: a name of {@link ComputeType}. */
  public Param<String> computeType() {
    return computeType;
  }

  /** Returns the parameter of {@link #setDevice}. */
  public Param<String> device() {
    return device;
  }

  /** Returns the parameter of {@link #setBlankTexts}: a name of {@link BlankTexts}. */
  public Param<String> blankTexts() {
    return blankTexts;
  }

  /** Returns the parameter of {@link #setMaxTokens}. */
  public IntParam maxTokens() {
    return maxTokens;
  }

  /** Returns the parameter of {@link #setDimension}. */
  public IntParam dimension() {
    return dimension;
  }

  /** Returns the parameter of {@link #setThreads}. */
  public IntParam threads() {
    return threads;
  }

  /** Returns the parameter of {@link #setBatchTokens}. */
  public IntParam batchTokens() {
    return batchTokens;
  }

  @Override
  public String uid() {
    return uid;
  }

  /**
   * Returns the rows with a column of vectors more.
   *
   * @throws IllegalArgumentException if there is no such column of texts, there is one of the
   *     vectors' name, or a parameter has a value that is none
   */
  @Override
  public Dataset<Row> transform(Dataset<?> dataset) {
    return transform(dataset, encoderSettings());
  }

  /** Transforms with an encoder whose model may be named more exactly. */
  Dataset<Row> transform(Dataset<?> dataset, EncoderSettings encoder) {
    StructType schema = transformSchema(dataset.schema());
    SparkContext context = dataset.sparkSession().sparkContext();
    ExecutorEncoders.closeWith(context);
    EmbedPartition.Texts texts =
        new EmbedPartition.Texts(
            dataset.schema().fieldIndex(inputColumn()),
            value(InputType.class, inputType),
            value(BlankTexts.class, blankTexts),
            (Integer) $(batchTokens));
    EmbedPartition task = new EmbedPartition(encoder, texts, requireNonNull(counters).of(context));
    return dataset.toDF().mapPartitions(task, Encoders.row(schema));
  }

  @Override
  public StructType transformSchema(StructType schema) {
    String input = inputColumn();
    String output = outputColumn();
    String columns = String.join(", ", schema.fieldNames());
    StructField texts =
        Arrays.stream(schema.fields())
            .filter(field -> field.name().equals(input))
            .findFirst()
            .orElseThrow(
                () ->
                    new IllegalArgumentException(
                        "there is no column '%s' of texts; there are: %s"
                            .formatted(input, columns)));
    if (!texts.dataType().equals(DataTypes.StringType)) {
      throw new IllegalArgumentException(
          "the column '%s' is of type %s; expected texts, string"
              .formatted(input, texts.dataType().simpleString()));
    }
    if (Arrays.stream(schema.fieldNames()).anyMatch(output::equalsIgnoreCase)) {
      throw new IllegalArgumentException(
          "there is a column '%s' already; set another for the vectors".formatted(output));
    }
    return schema.add(output, DataTypes.createArrayType(DataTypes.FloatType, false), true);
  }

  /** Returns what tasks of this embedder, and of its copies, have done so far. */
  public EmbeddingMetrics metrics() {
    return requireNonNull(counters).sum();
  }

  @Override
  public TextEmbedder copy(ParamMap extra) {
    TextEmbedder copy = defaultCopy(extra);
    copy.counters = counters;
    return copy;
  }

  /** Returns a reader of embedders that were {@link #save saved}. */
  public static MLReader<TextEmbedder> read() {
    return new DefaultParamsReader<>();
  }

  /** Reads an embedder that was saved in a folder. */
  public static TextEmbedder load(String path) {
    return read().load(path);
  }

  String inputColumn() {
    return $(inputCol);
  }

  String outputColumn() {
    return $(outputCol);
  }

  EncoderSettings encoderSettings() {
    return new EncoderSettings(
        isDefined(model) ? $(model) : null,
        value(ComputeType.class, computeType),
        $(device),
        value(maxTokens),
        value(dimension),
        value(threads));
  }

  /** Returns what vectors are the same with, beside the model. */
  Map<String, String> meaning() {
    Map<String, String> meaning = new TreeMap<>();
    meaning.put("inputCol", inputColumn());
    meaning.put("outputCol", outputColumn());
    meaning.put("inputType", value(InputType.class, inputType).name());
    meaning.put("computeType", value(ComputeType.class, computeType).name());
    meaning.put("blankTexts", value(BlankTexts.class, blankTexts).name());
    meaning.put("maxTokens", String.valueOf(value(maxTokens)));
    meaning.put("dimension", String.valueOf(value(dimension)));
    return meaning;
  }

  private @Nullable Integer value(IntParam param) {
    return isDefined(param) ? (Integer) $(param) : null;
  }

  private <E extends Enum<E>> E value(Class<E> type, Param<String> param) {
    String name = $(param);
    try {
      return Enum.valueOf(type, name.toUpperCase(Locale.ROOT));
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(
          "%s is '%s'; expected one of: %s"
              .formatted(param.name(), name, names(requireNonNull(type.getEnumConstants()))),
          e);
    }
  }
}

package io.llara.spark;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.BlankTexts;
import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.Similarity;
import io.llara.spark.TextEmbedder.InputType;
import io.llara.testing.Stories;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.apache.spark.SparkConf;
import org.apache.spark.ml.Pipeline;
import org.apache.spark.ml.PipelineModel;
import org.apache.spark.ml.PipelineStage;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SaveMode;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TextEmbedderTest {
  private static final List<String> TEXTS = LocalSpark.texts(60);

  @TempDir Path folder;

  @BeforeAll
  static void sparkRuns() {
    LocalSpark.requireUsable();
  }

  @Test
  void aPartitionHasTheVectorsOfOneCallToTheLastBit() {
    Dataset<Row> documents = LocalSpark.documents(TEXTS, 3).cache();
    for (InputType type : InputType.values()) {
      Dataset<Row> embedded = LocalSpark.embedder().setInputType(type).transform(documents);
      Map<Long, float[]> vectors = LocalSpark.vectors(embedded);

      assertThat(embedded.columns()).containsExactly("id", "text", "embedding");
      assertThat(vectors).hasSize(TEXTS.size());
      try (Encoder encoder = LocalSpark.encoder(LocalSpark.CORES)) {
        for (List<Row> partition : LocalSpark.partitions(documents)) {
          List<String> texts = partition.stream().map(row -> row.getString(1)).toList();
          List<float[]> expected = LocalSpark.inOneCall(encoder, texts, type);
          for (int i = 0; i < texts.size(); i++) {
            assertThat(vectors.get(partition.get(i).getLong(0))).isEqualTo(expected.get(i));
          }
        }
      }
    }
  }

  @Test
  void vectorsAreThoseOfOtherBatchesToSixDigits() {
    Dataset<Row> documents = LocalSpark.documents(TEXTS, 3);
    // Two texts or so at a time.
    Map<Long, float[]> vectors =
        LocalSpark.vectors(LocalSpark.embedder().setBatchTokens(50).transform(documents));
    try (Encoder encoder = LocalSpark.encoder(1)) {
      List<float[]> expected = encoder.encodeAll(TEXTS, encoder.modes().passage());
      for (int i = 0; i < TEXTS.size(); i++) {
        assertThat(Similarity.cosine(vectors.get((long) i), expected.get(i)))
            .isGreaterThan(0.999999);
      }
    }
  }

  @Test
  void nullsHaveNoVectorAndBlankTextsWhatIsSet() {
    List<String> texts = Arrays.asList("A llama.", null, " \n", "");
    Dataset<Row> documents = LocalSpark.documents(texts, 1).orderBy("id");

    List<Row> zeros =
        LocalSpark.embedder().setBlankTexts(BlankTexts.ZERO).transform(documents).collectAsList();
    assertThat(zeros.get(1).isNullAt(2)).isTrue();
    assertThat(LocalSpark.vector(zeros.get(2), 2)).hasSize(64).containsOnly(0);
    assertThat(LocalSpark.vector(zeros.get(3), 2)).hasSize(64).containsOnly(0);
    assertThat(LocalSpark.vector(zeros.get(0), 2)).isNotEqualTo(new float[64]);

    List<Row> nulls =
        LocalSpark.embedder().setBlankTexts(BlankTexts.SKIP).transform(documents).collectAsList();
    assertThat(nulls).extracting(row -> row.isNullAt(2)).containsExactly(false, true, true, true);

    assertThatThrownBy(() -> LocalSpark.embedder().transform(documents).collectAsList())
        .rootCause()
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("text 2 of partition 0 is blank");
  }

  @Test
  void countsTextsTokensAndCutsAsTheEncoderDoes() {
    List<String> texts = new ArrayList<>(TEXTS);
    texts.add(null);
    TextEmbedder embedder = LocalSpark.embedder().setMaxTokens(40);
    embedder.transform(LocalSpark.documents(texts, 2)).collectAsList();
    try (Encoder encoder = Encoder.builder(Stories.dir()).maxTokens(40).build()) {
      encoder.encodeAll(TEXTS, encoder.modes().passage());
      assertThat(encoder.statistics().truncatedTexts()).isPositive();
      assertThat(embedder.metrics())
          .isEqualTo(
              new EmbeddingMetrics(
                  TEXTS.size(),
                  encoder.statistics().tokens(),
                  encoder.statistics().truncatedTexts()));
    }
  }

  @Test
  void refusesColumnsThatDoNotFit() {
    Dataset<Row> documents = LocalSpark.documents(TEXTS, 1);
    assertThatThrownBy(() -> LocalSpark.embedder().setInputCol("body").transform(documents))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("there is no column 'body' of texts; there are: id, text");
    assertThatThrownBy(() -> LocalSpark.embedder().setInputCol("id").transform(documents))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("the column 'id' is of type bigint; expected texts, string");
    assertThatThrownBy(() -> LocalSpark.embedder().setOutputCol("Text").transform(documents))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("there is a column 'Text' already; set another for the vectors");
    TextEmbedder embedder = LocalSpark.embedder();
    embedder.set("inputType", "document");
    assertThatThrownBy(() -> embedder.transform(documents))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("inputType is 'document'; expected one of: QUERY, PASSAGE");
  }

  @Test
  void aModelThatIsNotThereFailsTheJobWithItsName() {
    TextEmbedder embedder = LocalSpark.embedder().setModel("/no/such/model");
    assertThatThrownBy(() -> embedder.transform(LocalSpark.documents(TEXTS, 1)).count())
        .rootCause()
        .hasMessageContaining("/no/such/model");
  }

  @Test
  void goesThroughSerialisationAndThroughASavedPipeline() throws Exception {
    Dataset<Row> documents = LocalSpark.documents(TEXTS.subList(0, 4), 1);
    TextEmbedder embedder = LocalSpark.embedder().setInputType(InputType.QUERY).setDimension(16);
    Map<Long, float[]> expected = LocalSpark.vectors(embedder.transform(documents));

    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
      out.writeObject(embedder);
    }
    try (ObjectInputStream in =
        new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
      TextEmbedder back = (TextEmbedder) in.readObject();
      assertThat(back.explainParams()).isEqualTo(embedder.explainParams());
    }

    String saved = folder.resolve("pipeline").toString();
    new Pipeline().setStages(new PipelineStage[] {embedder}).fit(documents).write().save(saved);
    Map<Long, float[]> again = LocalSpark.vectors(PipelineModel.load(saved).transform(documents));
    assertThat(again.keySet()).isEqualTo(expected.keySet());
    expected.forEach((id, vector) -> assertThat(again.get(id)).isEqualTo(vector).hasSize(16));
  }

  @Test
  void aRelativeModelIsFoundAmongTheFilesThatSparkBrought() throws Exception {
    SparkSession session = LocalSpark.session();
    session.sparkContext().addFile(Stories.dir().toAbsolutePath().toString(), true);
    TextEmbedder embedder = LocalSpark.embedder().setModel("stories260k");
    assertThat(embedder.transform(LocalSpark.documents(TEXTS, 1)).count()).isEqualTo(TEXTS.size());
    assertThat(LocalSpark.vectors(embedder.transform(LocalSpark.documents(TEXTS.subList(0, 2), 1))))
        .hasSize(2);
  }

  @Test
  void theTasksOfAnExecutorShareOneEncoderThatEndsWithTheContext() throws Exception {
    LocalSpark.session().stop();
    assertThat(ExecutorEncoders.open()).isZero();
    SparkSession session = LocalSpark.session(true);
    Dataset<Row> documents = LocalSpark.documents(TEXTS, 4);
    LocalSpark.embedder()
        .transform(documents)
        .write()
        .format("noop")
        .mode(SaveMode.Overwrite)
        .save();
    LocalSpark.embedder()
        .setInputType(InputType.QUERY)
        .transform(documents)
        .write()
        .format("noop")
        .mode(SaveMode.Overwrite)
        .save();
    assertThat(ExecutorEncoders.open()).isEqualTo(1);

    String ui = session.sparkContext().uiWebUrl().get();
    String stages =
        get(ui + "/api/v1/applications/" + session.sparkContext().applicationId() + "/stages");
    assertThat(stages).contains("llara.texts", "llara.tokens", "llara.truncatedTexts");

    session.stop();
    assertThat(ExecutorEncoders.open()).isZero();
  }

  private static String get(String url) throws Exception {
    HttpRequest request = HttpRequest.newBuilder(URI.create(url)).build();
    return HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body();
  }

  @Test
  void anExecutorRunsAsManyThreadsAsItHasCores() {
    assertThat(EncoderSettings.cores(conf("local", null), 8)).isEqualTo(1);
    assertThat(EncoderSettings.cores(conf("local[3]", null), 8)).isEqualTo(3);
    assertThat(EncoderSettings.cores(conf("local[3,2]", "4"), 8)).isEqualTo(3);
    assertThat(EncoderSettings.cores(conf("local[*]", null), 8)).isEqualTo(8);
    assertThat(EncoderSettings.cores(conf("local[16]", null), 8)).isEqualTo(8);
    assertThat(EncoderSettings.cores(conf("yarn", "4"), 8)).isEqualTo(4);
    assertThat(EncoderSettings.cores(conf("spark://host:7077", null), 8)).isEqualTo(8);
  }

  @Test
  void aDirectoryIsNoModelOfTheHubHoweverItIsSpelled() {
    String dir = Stories.dir().toAbsolutePath().toString();
    for (String spelled : List.of(dir, dir + "/")) {
      EncoderSettings settings =
          new EncoderSettings(spelled, ComputeType.FLOAT32, "cpu", null, null, null);
      assertThat(settings.fingerprinted().settings()).isEqualTo(settings);
    }
  }

  private static SparkConf conf(String master, String cores) {
    SparkConf conf = new SparkConf(false).set("spark.master", master);
    return cores == null ? conf : conf.set("spark.executor.cores", cores);
  }

  @Test
  void otherColumnsStayAsTheyAre() {
    Dataset<Row> documents =
        LocalSpark.documents(TEXTS.subList(0, 3), 1)
            .withColumn("when", functions.to_date(functions.lit("2024-02-29")))
            .withColumn("tags", functions.array(functions.lit("a"), functions.lit("b")))
            .withColumn("score", functions.lit(null).cast("double"));
    Dataset<Row> embedded = LocalSpark.embedder().transform(documents);
    assertThat(embedded.drop("embedding").collectAsList()).isEqualTo(documents.collectAsList());
  }
}

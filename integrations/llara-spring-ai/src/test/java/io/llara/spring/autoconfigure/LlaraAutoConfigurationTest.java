package io.llara.spring.autoconfigure;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.mockito.Mockito.mock;

import io.llara.Encoder;
import io.llara.EncoderListener;
import io.llara.Mode;
import io.llara.ModelLoadException;
import io.llara.TextModes;
import io.llara.micrometer.EncoderMeters;
import io.llara.spring.LlaraBatchingStrategy;
import io.llara.spring.LlaraEmbeddingModel;
import io.llara.testing.Stories;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.springframework.ai.embedding.BatchingStrategy;
import org.springframework.ai.embedding.EmbeddingModel;
import org.springframework.ai.model.embedding.observation.autoconfigure.EmbeddingObservationAutoConfiguration;
import org.springframework.boot.actuate.autoconfigure.observation.ObservationAutoConfiguration;
import org.springframework.boot.actuate.health.HealthIndicator;
import org.springframework.boot.actuate.health.Status;
import org.springframework.boot.autoconfigure.AutoConfigurations;
import org.springframework.boot.test.context.FilteredClassLoader;
import org.springframework.boot.test.context.runner.ApplicationContextRunner;

class LlaraAutoConfigurationTest {
  private static final String TEXT = "Once upon a time there was a little dog.";

  private final ApplicationContextRunner runner =
      new ApplicationContextRunner()
          .withConfiguration(
              AutoConfigurations.of(
                  LlaraAutoConfiguration.class,
                  LlaraHealthAutoConfiguration.class,
                  ObservationAutoConfiguration.class,
                  EmbeddingObservationAutoConfiguration.class));

  private final ApplicationContextRunner stories =
      runner.withPropertyValues("llara.model=" + Stories.dir());

  @Test
  void anEmbeddingModelOfADirectory() {
    stories.run(
        context -> {
          assertThat(context).hasSingleBean(EmbeddingModel.class);
          assertThat(context.getBean(BatchingStrategy.class))
              .isInstanceOf(LlaraBatchingStrategy.class);
          assertThat(context).doesNotHaveBean(EncoderMeters.class);
          assertThat(context.getBean(EmbeddingModel.class).embed(TEXT)).hasSize(64);
          assertThat(
                  context
                      .getBean(EmbeddingModel.class)
                      .embedForResponse(List.of(TEXT))
                      .getMetadata()
                      .getModel())
              .isEqualTo("stories260k");
        });
  }

  @Test
  void theModelOfTheClassPathByDefault() {
    runner.run(context -> assertThat(context.getBean(Encoder.class).dimension()).isEqualTo(576));
  }

  @Test
  void propertiesAreThoseOfTheEncoder() {
    stories
        .withPropertyValues(
            "llara.name=tales",
            "llara.template=llara-paper",
            "llara.modes=n2n",
            "llara.compute-type=float32",
            "llara.max-tokens=96",
            "llara.query-max-tokens=32",
            "llara.passage-max-tokens=48",
            "llara.on-overflow=refuse",
            "llara.device=cpu",
            "llara.dimension=16",
            "llara.normalize=false",
            "llara.batch-tokens=128",
            "llara.threads=1",
            "llara.copy-weights=true")
        .run(
            context -> {
              Encoder encoder = context.getBean(Encoder.class);
              assertThat(encoder.modes()).isEqualTo(TextModes.N2N);
              assertThat(encoder.forQueries().maxTokens()).isEqualTo(32);
              assertThat(encoder.forPassages().maxTokens()).isEqualTo(48);
              assertThat(encoder.dimension()).isEqualTo(16);
              assertThat(encoder.device()).isEqualTo("cpu");
              assertThat(encoder.normalizes()).isFalse();
              assertThat(encoder.lanes()).isEqualTo(1);
              EmbeddingModel model = context.getBean(EmbeddingModel.class);
              assertThat(model.dimensions()).isEqualTo(16);
            });
  }

  @Test
  void whatIsWrongEndsTheStart() {
    runner
        .withPropertyValues("llara.model=no-such-dir")
        .run(
            context ->
                assertThat(context)
                    .getFailure()
                    .hasRootCauseInstanceOf(ModelLoadException.class)
                    .rootCause()
                    .hasMessageContaining("no-such-dir"));
    stories
        .withPropertyValues("llara.threads=0", "llara.dimension=-1")
        .run(
            context ->
                assertThat(context)
                    .getFailure()
                    .rootCause()
                    .hasMessageContainingAll("threads is 0", "dimension is -1"));
  }

  @Test
  void theContextClosesTheEncoder() {
    AtomicInteger heard = new AtomicInteger();
    Encoder[] encoder = new Encoder[1];
    stories
        .withBean(EncoderListener.class, () -> event -> heard.incrementAndGet())
        .run(
            context -> {
              encoder[0] = context.getBean(Encoder.class);
              context.getBean(EmbeddingModel.class).embed(TEXT);
            });
    assertThat(heard).hasValue(1);
    assertThatIllegalStateException().isThrownBy(() -> encoder[0].encode(TEXT, Mode.SELF));
  }

  @Test
  void stepsAsideForBeansOfTheApplication() {
    EmbeddingModel other = mock(EmbeddingModel.class);
    stories
        .withBean(EmbeddingModel.class, () -> other)
        .run(
            context -> {
              assertThat(context.getBean(EmbeddingModel.class)).isSameAs(other);
              assertThat(context)
                  .doesNotHaveBean(Encoder.class)
                  .doesNotHaveBean(BatchingStrategy.class)
                  .doesNotHaveBean("llaraHealthIndicator");
            });
    Encoder own = mock(Encoder.class);
    BatchingStrategy batching = mock(BatchingStrategy.class);
    runner
        .withBean(Encoder.class, () -> own)
        .withBean(BatchingStrategy.class, () -> batching)
        .run(
            context -> {
              assertThat(context.getBean(Encoder.class)).isSameAs(own);
              assertThat(context.getBean(BatchingStrategy.class)).isSameAs(batching);
              assertThat(context).hasSingleBean(LlaraEmbeddingModel.class);
            });
    stories
        .withPropertyValues("spring.ai.model.embedding=openai")
        .run(context -> assertThat(context).doesNotHaveBean(Encoder.class));
  }

  @Test
  void callsAreMetered() {
    stories
        .withBean(MeterRegistry.class, SimpleMeterRegistry::new)
        .run(
            context -> {
              context.getBean(EmbeddingModel.class).embed(TEXT);
              MeterRegistry registry = context.getBean(MeterRegistry.class);
              assertThat(registry.get("llara.encoder.texts").counter().count()).isEqualTo(1);
              int tokens = context.getBean(Encoder.class).countTokens(TEXT, Mode.NEXT);
              assertThat(
                      registry
                          .get("gen_ai.client.embeddings.operation.input_tokens")
                          .tag("gen_ai.request.model", "stories260k")
                          .summary()
                          .totalAmount())
                  .isEqualTo(tokens);
              // Those of Spring AI, from the observation.
              assertThat(registry.get("gen_ai.client.operation").timer().count()).isEqualTo(1);
              assertThat(
                      registry
                          .get("gen_ai.client.token.usage")
                          .tag("gen_ai.token.type", "input")
                          .counter()
                          .count())
                  .isEqualTo(tokens);
            });
  }

  @Test
  void healthIsThatOfTheEncoder() {
    stories.run(
        context -> {
          HealthIndicator health = context.getBean("llaraHealthIndicator", HealthIndicator.class);
          assertThat(health.health().getStatus()).isEqualTo(Status.UP);
          assertThat(health.health().getDetails())
              .containsEntry("dimension", 64)
              .containsEntry("template", "llara-paper")
              .containsEntry("texts", 0L);
          context.getBean(Encoder.class).close();
          assertThat(health.health().getStatus()).isEqualTo(Status.DOWN);
        });
    stories
        .withPropertyValues("management.health.llara.enabled=false")
        .run(context -> assertThat(context).doesNotHaveBean(HealthIndicator.class));
  }

  @Test
  void needsNoActuator() {
    new ApplicationContextRunner()
        .withConfiguration(
            AutoConfigurations.of(LlaraAutoConfiguration.class, LlaraHealthAutoConfiguration.class))
        .withPropertyValues("llara.model=" + Stories.dir())
        .withClassLoader(new FilteredClassLoader("org.springframework.boot.actuate"))
        .run(context -> assertThat(context).hasSingleBean(EmbeddingModel.class));
  }

  @Test
  void propertiesHaveMetadata() throws IOException {
    try (InputStream in =
        LlaraProperties.class.getResourceAsStream("/META-INF/spring-configuration-metadata.json")) {
      assertThat(new String(in.readAllBytes(), StandardCharsets.UTF_8))
          .contains("\"llara.query-max-tokens\"", "Longest prompt of a query, in tokens.")
          .contains("\"defaultValue\": 65536");
    }
  }
}

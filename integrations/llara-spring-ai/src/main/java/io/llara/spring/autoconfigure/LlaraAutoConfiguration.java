package io.llara.spring.autoconfigure;

import io.llara.BundledModel;
import io.llara.Encoder;
import io.llara.EncoderBuilder;
import io.llara.EncoderListener;
import io.llara.ModelLoadException;
import io.llara.ModelSource;
import io.llara.micrometer.EncoderMeters;
import io.llara.spring.LlaraBatchingStrategy;
import io.llara.spring.LlaraEmbeddingModel;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.observation.ObservationRegistry;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.springframework.ai.embedding.BatchingStrategy;
import org.springframework.ai.embedding.EmbeddingModel;
import org.springframework.ai.embedding.observation.EmbeddingModelObservationConvention;
import org.springframework.ai.model.SpringAIModelProperties;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnProperty;
import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.context.annotation.Bean;

/**
 * Configures an {@link Encoder}, its {@link LlaraEmbeddingModel}, {@link LlaraBatchingStrategy}
 * and, where there is a {@link MeterRegistry}, its {@link EncoderMeters}. Each steps aside for a
 * bean of the application's; all do where there is another {@link EmbeddingModel}, or if {@code
 * spring.ai.model.embedding} is set to anything but {@code llara}.
 *
 * <p>The context closes the encoder with its other beans, after the web server is done with its
 * requests.
 */
@AutoConfiguration(
    afterName = {
      "org.springframework.boot.actuate.autoconfigure.observation.ObservationAutoConfiguration",
      "org.springframework.boot.actuate.autoconfigure.metrics.CompositeMeterRegistryAutoConfiguration"
    })
@ConditionalOnProperty(
    name = SpringAIModelProperties.EMBEDDING_MODEL,
    havingValue = "llara",
    matchIfMissing = true)
@ConditionalOnMissingBean(EmbeddingModel.class)
@EnableConfigurationProperties(LlaraProperties.class)
public class LlaraAutoConfiguration {
  private final LlaraProperties properties;

  LlaraAutoConfiguration(LlaraProperties properties) {
    this.properties = properties;
  }

  @Bean
  @ConditionalOnMissingBean
  @ConditionalOnBean(MeterRegistry.class)
  EncoderMeters llaraEncoderMeters(MeterRegistry registry) {
    return new EncoderMeters(registry, name());
  }

  @Bean
  @ConditionalOnMissingBean
  Encoder llaraEncoder(ObjectProvider<EncoderListener> listenerBeans) {
    List<EncoderListener> listeners = listenerBeans.orderedStream().toList();
    String model = properties.model();
    EncoderBuilder builder =
        model == null ? Encoder.builder() : Encoder.builder(ModelSource.of(Path.of(model)));
    builder.copyWeights(properties.copyWeights());
    builder.listener(event -> listeners.forEach(listener -> listener.encoded(event)));
    set(properties.template(), builder::template);
    set(properties.modes(), builder::modes);
    set(properties.adapter(), adapter -> builder.adapter(Path.of(adapter)));
    set(properties.device(), builder::device);
    set(properties.computeType(), builder::computeType);
    set(properties.maxTokens(), builder::maxTokens);
    set(properties.queryMaxTokens(), builder::queryMaxTokens);
    set(properties.passageMaxTokens(), builder::passageMaxTokens);
    set(properties.onOverflow(), builder::onOverflow);
    set(properties.dimension(), builder::dimension);
    set(properties.normalize(), builder::normalize);
    set(properties.batchTokens(), builder::batchTokens);
    set(properties.threads(), builder::threads);
    return builder.build();
  }

  private static <T> void set(@Nullable T value, Consumer<T> setting) {
    if (value != null) {
      setting.accept(value);
    }
  }

  @Bean
  LlaraEmbeddingModel llaraEmbeddingModel(
      Encoder encoder,
      ObjectProvider<ObservationRegistry> observations,
      ObjectProvider<EmbeddingModelObservationConvention> convention) {
    return new LlaraEmbeddingModel(
        encoder,
        name(),
        observations.getIfUnique(() -> ObservationRegistry.NOOP),
        convention.getIfAvailable());
  }

  @Bean
  @ConditionalOnMissingBean
  BatchingStrategy llaraBatchingStrategy(Encoder encoder) {
    return new LlaraBatchingStrategy(encoder, properties.storeBatchTokens());
  }

  private String name() {
    String name = properties.name();
    if (name != null) {
      return name;
    }
    String model = properties.model();
    if (model != null) {
      return ModelSource.of(Path.of(model)).name();
    }
    try {
      return BundledModel.find().name();
    } catch (ModelLoadException e) {
      // The encoder is the application's own.
      return "llara";
    }
  }
}

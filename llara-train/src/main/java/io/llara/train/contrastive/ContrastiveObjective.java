package io.llara.train.contrastive;

import com.google.common.primitives.Floats;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.train.autograd.GradientAccumulator;
import io.llara.train.autograd.Parameter;
import io.llara.train.contrastive.Matryoshka.Prefix;
import io.llara.train.distributed.Communicator;
import io.llara.train.lora.Dropout;
import io.llara.train.run.Objective;
import io.llara.train.run.Workers;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * InfoNCE and what a teacher adds to it. A query's negatives are its own and all passages of the
 * other queries of the batch, those of other processes too, whose embeddings are gathered.
 */
final class ContrastiveObjective implements Objective<PairExample>, AutoCloseable {
  private static final String INFO_NCE = "infonce_loss";
  private static final String ACCURACY = "accuracy";

  /** Places of terms: before them the three that are made of similarities. */
  private static final int COSINE = 3;

  private static final int ACCURACIES = 4;

  private final ContrastiveLoss loss;
  private final GradCache cache;
  private final Communicator communicator;
  private final List<Prefix> prefixes;
  private final Optional<ProjectedCosine> cosine;

  /** The terms in the order of the sums. */
  private final List<Term> terms = new ArrayList<>();

  /**
   * A term, as it is reported.
   *
   * @param weight in the loss
   * @param ofTexts whether its sum is over texts, not queries
   */
  private record Term(String name, double weight, boolean ofTexts) {}

  /**
   * Makes an objective.
   *
   * @param workers gather embeddings; they are used before any gradient is given
   * @param teacherDimension the length of the teacher's vectors, if the loss has to do with them
   * @throws IllegalArgumentException if a prefix is longer than the embeddings
   */
  ContrastiveObjective(
      ContrastiveLoss loss, GradCache cache, Workers workers, OptionalInt teacherDimension) {
    this.loss = loss;
    this.cache = cache;
    this.communicator = workers.communicator();
    this.prefixes = loss.matryoshka().within(cache.hiddenSize());
    Distillation distillation = loss.distillation();
    this.cosine =
        distillation.cosine() > 0
            ? Optional.of(
                new ProjectedCosine(
                    teacherDimension.orElseThrow(), cache.hiddenSize(), cache::placed))
            : Optional.empty();
    terms.add(new Term(INFO_NCE, loss.weight(), false));
    terms.add(new Term("similarity_loss", distillation.similarity(), false));
    terms.add(new Term("score_loss", distillation.scores(), false));
    terms.add(new Term("cosine_loss", distillation.cosine(), true));
    prefixes.forEach(
        prefix ->
            terms.add(
                new Term(
                    ACCURACY + (prefix.equals(prefixes.get(0)) ? "" : "_" + prefix.dimension()),
                    0,
                    false)));
  }

  @Override
  public List<Parameter> parameters() {
    return cosine.map(ProjectedCosine::projection).stream().toList();
  }

  @Override
  public List<String> termNames() {
    List<String> names = new ArrayList<>();
    names.add("loss");
    terms.stream().filter(this::isReported).map(Term::name).forEach(names::add);
    return names;
  }

  /** InfoNCE alone is the loss. */
  private boolean isReported(Term term) {
    return term.name().startsWith(ACCURACY)
        || !loss.distillation().equals(Distillation.NONE)
            && (term.weight() > 0 || term.name().equals(INFO_NCE));
  }

  @Override
  public double[] counts(List<PairExample> examples) {
    double texts = examples.stream().mapToInt(example -> 1 + example.passages().size()).sum();
    return terms.stream().mapToDouble(term -> term.ofTexts() ? texts : examples.size()).toArray();
  }

  /** With a projection the loss has a gradient of its own, beside those of the model's passes. */
  @Override
  public int contributors(List<PairExample> batch) {
    return ofLoss(batch) + (cosine.isPresent() ? 1 : 0);
  }

  /** Returns which contributor the loss is: the one after those of the model's passes. */
  private int ofLoss(List<PairExample> batch) {
    return cache.contributors(batch.size() * (1 + group(batch)));
  }

  /** Returns how many passages each query has. */
  private static int group(List<PairExample> batch) {
    return batch.get(0).passages().size();
  }

  @Override
  public double[] train(
      List<PairExample> batch, double[] counts, long key, GradientAccumulator gradients) {
    double[] sums = new double[terms.size()];
    cache.train(
        PairExample.prompts(batch),
        Dropout.mix(key + communicator.rank()),
        (embeddings, gradient) -> {
          differentiate(batch, counts, embeddings, gradient, sums);
          cosine.ifPresent(
              projected -> {
                int number = ofLoss(batch);
                sums[COSINE] =
                    projected.differentiate(
                        embeddings,
                        teacherVectors(batch),
                        terms.get(COSINE).weight() / counts[COSINE],
                        gradient,
                        gradients.contributor(number));
                gradients.finished(number);
              });
        },
        gradients);
    return sums;
  }

  /** Computes the losses of this process's queries against the passages of all. */
  private void differentiate(
      List<PairExample> batch, double[] counts, Tensor embeddings, Tensor gradient, double[] sums) {
    int queries = batch.size();
    long passages = embeddings.size(0) - queries;
    long first = communicator.rank() * passages;
    InfoNce.Targets targets = targets(batch, Math.toIntExact(first), communicator::allGather);
    Tensor q = embeddings.narrow(0, 0, queries);
    Tensor all = communicator.allGather(embeddings.narrow(0, queries, passages));
    Tensor allGradient = torch.zeros_like(all);
    for (int i = 0; i < prefixes.size(); i++) {
      try (TensorScope scope = new TensorScope()) {
        long dimension = prefixes.get(i).dimension();
        double share = prefixes.get(i).weight();
        InfoNce.Scale scale =
            new InfoNce.Scale(
                    terms.get(0).weight() / counts[0],
                    terms.get(1).weight() / counts[1],
                    terms.get(2).weight() / counts[2])
                .times(share);
        InfoNce.Differentiated result =
            loss.infoNce()
                .differentiate(
                    q.narrow(1, 0, dimension), all.narrow(1, 0, dimension), targets, scale);
        add(result.sums(), i, sums);
        gradient.narrow(0, 0, queries).narrow(1, 0, dimension).add_(result.queryGradient());
        allGradient.narrow(1, 0, dimension).add_(result.passageGradient());
      }
    }
    // The queries of the other processes have gradients by this one's passages, too.
    communicator.allReduce(allGradient);
    gradient.narrow(0, queries, passages).copy_(allGradient.narrow(0, first, passages));
  }

  /** Adds the sums of a prefix to those of the terms. */
  private void add(InfoNce.Sums ofPrefix, int prefix, double[] sums) {
    double share = prefixes.get(prefix).weight();
    sums[0] += share * ofPrefix.loss();
    sums[1] += share * ofPrefix.kl();
    sums[2] += share * ofPrefix.scoreKl();
    sums[ACCURACIES + prefix] += ofPrefix.hits();
  }

  /**
   * Returns what scores are to be, in the innermost scope.
   *
   * @param gather puts the passages' vectors of all processes together
   */
  private InfoNce.Targets targets(
      List<PairExample> batch, int first, UnaryOperator<Tensor> gather) {
    int queries = batch.size();
    Optional<SoftLabels> similarities = Optional.empty();
    if (loss.distillation().similarity() > 0) {
      Tensor vectors = teacherVectors(batch);
      similarities =
          Optional.of(
              SoftLabels.ofVectors(
                  vectors.narrow(0, 0, queries),
                  gather.apply(vectors.narrow(0, queries, vectors.size(0) - queries)),
                  loss.teacherTemperature()));
    }
    Optional<SoftLabels> scores = Optional.empty();
    if (loss.distillation().scores() > 0) {
      float[] values =
          Floats.toArray(
              batch.stream().flatMap(example -> example.teacher().scores().stream()).toList());
      scores =
          Optional.of(
              SoftLabels.ofScores(cache.placed(Tensors.ofFloats(values, queries, group(batch)))));
    }
    return new InfoNce.Targets(first, group(batch), similarities, scores);
  }

  /**
   * Returns the teacher's vectors in the order of the prompts, {@code [texts, dimension]}, in the
   * innermost scope.
   */
  private Tensor teacherVectors(List<PairExample> batch) {
    List<float[]> vectors = new ArrayList<>();
    batch.forEach(example -> vectors.add(example.teacher().vectors().get(0)));
    for (PairExample example : batch) {
      List<float[]> own = example.teacher().vectors();
      vectors.addAll(own.subList(1, own.size()));
    }
    return cache.placed(
        Tensors.ofFloats(
            Floats.concat(vectors.toArray(float[][]::new)), vectors.size(), vectors.get(0).length));
  }

  /** Each batch is evaluated by itself: the loss has as many negatives as in training. */
  @Override
  public double[] evaluate(List<List<PairExample>> batches) {
    double[] sums = new double[terms.size()];
    batches.forEach(batch -> evaluate(batch, sums));
    return sums;
  }

  private void evaluate(List<PairExample> batch, double[] sums) {
    try (TensorScope scope = new TensorScope()) {
      Tensor embeddings = cache.embed(PairExample.prompts(batch));
      cache.onLane(
          () -> {
            try (TensorScope inner = new TensorScope()) {
              long queries = batch.size();
              InfoNce.Targets targets = targets(batch, 0, passages -> passages);
              for (int i = 0; i < prefixes.size(); i++) {
                Tensor prefix = embeddings.narrow(1, 0, prefixes.get(i).dimension());
                add(
                    loss.infoNce()
                        .losses(
                            prefix.narrow(0, 0, queries),
                            prefix.narrow(0, queries, embeddings.size(0) - queries),
                            targets),
                    i,
                    sums);
              }
              cosine.ifPresent(
                  projected -> sums[COSINE] += projected.losses(embeddings, teacherVectors(batch)));
              return null;
            }
          });
    }
  }

  @Override
  public Map<String, Double> terms(double[] sums, double[] counts) {
    Map<String, Double> means = new LinkedHashMap<>();
    means.put("loss", 0.0);
    for (int i = 0; i < terms.size(); i++) {
      Term term = terms.get(i);
      double mean = sums[i] / counts[i];
      means.merge("loss", term.weight() * mean, Double::sum);
      if (isReported(term)) {
        means.put(term.name(), mean);
      }
    }
    return means;
  }

  @Override
  public void close() {
    cosine.ifPresent(ProjectedCosine::close);
  }
}

package io.llara.retrieval.eval;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import io.llara.io.AtomicFiles;
import java.nio.file.Path;
import java.util.List;

/**
 * The means of one or more runs on a collection, for people and for programs.
 *
 * @param dataset the collection's name
 * @param evaluations the runs, all measured on the same queries
 */
public record BeirReport(String dataset, List<Evaluation> evaluations) {
  /** Copies the list. */
  public BeirReport {
    evaluations = List.copyOf(evaluations);
  }

  /**
   * Writes the means as JSON: {@code {"dataset": …, "runs": [{"name": "model", "metrics":
   * {"ndcg@10": 0.338, …}}, …]}}, in the order of the runs. A file of that name is replaced at
   * once, or not at all.
   *
   * @throws io.llara.LlaraException if it cannot be written
   */
  public void writeJson(Path file) {
    JsonArray runs = new JsonArray();
    for (Evaluation evaluation : evaluations) {
      JsonObject metrics = new JsonObject();
      evaluation
          .metrics()
          .forEach(metric -> metrics.addProperty(metric.label(), evaluation.mean(metric)));
      JsonObject run = new JsonObject();
      run.addProperty("name", evaluation.name());
      run.add("metrics", metrics);
      runs.add(run);
    }
    JsonObject report = new JsonObject();
    report.addProperty("dataset", dataset);
    report.add("runs", runs);
    AtomicFiles.writeJson(file, report);
  }
}

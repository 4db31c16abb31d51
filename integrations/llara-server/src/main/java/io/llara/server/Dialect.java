package io.llara.server;

import com.google.common.collect.ImmutableSet;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import io.llara.io.StrictJson;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.List;

/** How requests and answers are spelled: as OpenAI does, or text-embeddings-inference. */
enum Dialect {
  OPENAI(
      "input",
      ImmutableSet.of("input", "model", "encoding_format", "dimensions", "user", "input_type")) {
    @Override
    byte[] answer(Embedder.Result result, boolean base64, String model) {
      StringBuilder json = new StringBuilder("{\"object\":\"list\",\"data\":[");
      List<float[]> vectors = result.vectors();
      for (int i = 0; i < vectors.size(); i++) {
        json.append(i == 0 ? "" : ",").append("{\"object\":\"embedding\",\"index\":").append(i);
        json.append(",\"embedding\":");
        if (base64) {
          json.append('"').append(base64(vectors.get(i))).append('"');
        } else {
          append(vectors.get(i), json);
        }
        json.append('}');
      }
      json.append("],\"model\":").append(StrictJson.tree(model));
      json.append(",\"usage\":{\"prompt_tokens\":").append(result.tokens());
      json.append(",\"total_tokens\":").append(result.tokens()).append("}}");
      return json.toString().getBytes(StandardCharsets.UTF_8);
    }

    @Override
    byte[] error(ApiException.Problem problem, String message) {
      JsonObject error = new JsonObject();
      error.addProperty("message", message);
      error.addProperty("type", problem.openAi);
      error.add("param", JsonNull.INSTANCE);
      if (problem == ApiException.Problem.UNAUTHORIZED) {
        error.addProperty("code", "invalid_api_key");
      } else {
        error.add("code", JsonNull.INSTANCE);
      }
      JsonObject body = new JsonObject();
      body.add("error", error);
      return bytes(body);
    }
  },

  TEI(
      "inputs",
      ImmutableSet.of(
          "inputs",
          "normalize",
          "truncate",
          "truncation_direction",
          "prompt_name",
          "dimensions",
          "input_type")) {
    @Override
    byte[] answer(Embedder.Result result, boolean base64, String model) {
      StringBuilder json = new StringBuilder("[");
      for (float[] vector : result.vectors()) {
        json.append(json.length() == 1 ? "" : ",");
        append(vector, json);
      }
      return json.append(']').toString().getBytes(StandardCharsets.UTF_8);
    }

    @Override
    byte[] error(ApiException.Problem problem, String message) {
      JsonObject body = new JsonObject();
      body.addProperty("error", message);
      body.addProperty("error_type", problem.tei);
      return bytes(body);
    }
  };

  private final String inputKey;
  private final ImmutableSet<String> keys;

  Dialect(String inputKey, ImmutableSet<String> keys) {
    this.inputKey = inputKey;
    this.keys = keys;
  }

  /** Returns the keys of a request. */
  ImmutableSet<String> keys() {
    return keys;
  }

  /** Returns the key of the texts. */
  String inputKey() {
    return inputKey;
  }

  /** Returns the body of an answer with embeddings. */
  abstract byte[] answer(Embedder.Result result, boolean base64, String model);

  /** Returns the body of an answer that refuses. */
  abstract byte[] error(ApiException.Problem problem, String message);

  static byte[] bytes(JsonObject json) {
    return StrictJson.compact(json).getBytes(StandardCharsets.UTF_8);
  }

  private static String base64(float[] vector) {
    ByteBuffer bytes =
        ByteBuffer.allocate(Float.BYTES * vector.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(vector);
    return Base64.getEncoder().encodeToString(bytes.array());
  }

  private static void append(float[] vector, StringBuilder json) {
    json.append('[');
    for (int i = 0; i < vector.length; i++) {
      json.append(i == 0 ? "" : ",").append(vector[i]);
    }
    json.append(']');
  }
}

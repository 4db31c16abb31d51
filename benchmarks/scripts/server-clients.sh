#!/usr/bin/env bash
# Uses a running "llara serve" with the clients that people have: Python's openai and LangChain4j's OpenAI model.
#   pip install openai; benchmarks/scripts/server-clients.sh http://127.0.0.1:8080
set -euo pipefail
server=${1:-http://127.0.0.1:8080}
python=${PYTHON:-python3}
langchain4j=${LANGCHAIN4J_VERSION:-1.19.0}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$python" - "$server" <<'PY'
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="unused")
texts = ["What is a llama?", "The llama is a South American camelid."]
base64 = client.embeddings.create(model="llara", input=texts)
print("openai", openai.__version__, len(base64.data), "embeddings of", len(base64.data[0].embedding), base64.usage)
floats = client.embeddings.create(model="llara", input=texts, encoding_format="float")
worst = max(abs(a - b) for x, y in zip(base64.data, floats.data) for a, b in zip(x.embedding, y.embedding))
assert worst < 1e-6, worst
half = client.embeddings.create(model="llara", input=texts[0], dimensions=16, extra_body={"input_type": "query"})
assert len(half.data[0].embedding) == 16
assert len(client.embeddings.create(model="llara", input=[[1, 2, 3], [4, 5]]).data) == 2
print("models:", [model.id for model in client.models.list()])
for wrong in ({"input": ""}, {"input": "a", "dimensions": 100000}):
    try:
        client.embeddings.create(model="llara", **wrong)
        raise SystemExit("accepted: %s" % wrong)
    except openai.BadRequestError as error:
        print("refused:", error.message)
PY

cat > "$folder/pom.xml" <<XML
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>client</groupId><artifactId>client</artifactId><version>1</version>
<dependencies><dependency><groupId>dev.langchain4j</groupId><artifactId>langchain4j-open-ai</artifactId>
<version>$langchain4j</version></dependency></dependencies></project>
XML
cat > "$folder/Client.java" <<'JAVA'
import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.model.openai.OpenAiEmbeddingModel;
import java.util.List;

public class Client {
  public static void main(String[] args) {
    var model =
        OpenAiEmbeddingModel.builder().baseUrl(args[0] + "/v1").apiKey("unused").modelName("llara").build();
    var response =
        model.embedAll(List.of(TextSegment.from("What is a llama?"), TextSegment.from("The llama is a camelid.")));
    System.out.printf(
        "LangChain4j: %d embeddings of %d, %s%n",
        response.content().size(), response.content().get(0).dimension(), response.tokenUsage());
  }
}
JAVA
mvn -B -ntp -q -f "$folder/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.11.0:build-classpath -Dmdep.outputFile="$folder/cp"
java -cp "$(cat "$folder/cp")" "$folder/Client.java" "$server"

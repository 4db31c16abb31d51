package io.llara.server;

/** A request that is refused, and what both protocols call the reason. */
final class ApiException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** The reasons, each with its status, OpenAI's type and that of text-embeddings-inference. */
  enum Problem {
    INVALID(400, "invalid_request_error", "Validation"),
    UNAUTHORIZED(401, "invalid_request_error", "Unauthorized"),
    FORBIDDEN(403, "invalid_request_error", "Validation"),
    NOT_FOUND(404, "invalid_request_error", "Validation"),
    WRONG_METHOD(405, "invalid_request_error", "Validation"),
    TOO_LARGE(413, "invalid_request_error", "Validation"),
    WRONG_MEDIA(415, "invalid_request_error", "Validation"),
    OVERLOADED(429, "rate_limit_exceeded", "Overloaded"),
    FAILED(500, "server_error", "Backend"),
    UNAVAILABLE(503, "server_error", "Unhealthy");

    final int status;
    final String openAi;
    final String tei;

    Problem(int status, String openAi, String tei) {
      this.status = status;
      this.openAi = openAi;
      this.tei = tei;
    }
  }

  private final Problem problem;
  private final int retryAfter;

  ApiException(Problem problem, String message) {
    this(problem, message, 0);
  }

  /**
   * Creates one.
   *
   * @param retryAfter in how many seconds to come back; 0 if that is of no use
   */
  ApiException(Problem problem, String message, int retryAfter) {
    super(message, null, false, false); // Nobody reads the trace of a client's mistake.
    this.problem = problem;
    this.retryAfter = retryAfter;
  }

  Problem problem() {
    return problem;
  }

  int retryAfter() {
    return retryAfter;
  }
}

/* The code model's stack on a CPU: all layers in one call, whichever rows, and any count of new tokens of each.
 *
 * A token is one vector at one cell of one slot of the cache. It attends to the cells of its slot up to its own, which
 * other tokens of the call may fill. Products are of integers, exactly summed in parts of the inputs; all else
 * is float32, and every sum's order is fixed. So a token's bits depend neither on who shares the call nor on how many
 * threads share the work.
 *
 * Threads split products by outputs and attention by heads. No function allocates, fails or keeps state.
 */
#include "attend.h"
#include "crew.h"
#include "few_rows.h"

enum {
  GPT_FEW = MATRIX_ROWS, /* tokens up to which every thread quantises all of them, sparing a phase */
  GPT_PANELS = 4,        /* of a product that are one chunk */
  /* Bound of what all functions here together hold on the stack of a thread; a test checks it. */
  GPT_STACK_BYTES = 16 * 1024,
};

typedef struct {
  const float *weight, *bias;
} Norm;

typedef struct {
  Norm attention_norm, mlp_norm;
  Weights qkv, out, up, down;
  float *keys, *values; /* [rows][heads][cells][width / heads] */
} Layer;

typedef struct {
  const Layer *layers;
  Norm stack_norm, final_norm;
  int32_t count, width; /* layers; channels */
  int32_t heads;        /* of width / heads channels each, a multiple of MATRIX_COLUMNS up to ATTEND_SIZE */
  float epsilon;
} Stack;

/* Where a call works. T is the tokens, or GPT_FEW times the threads if that is more. */
typedef struct {
  float *qkv;      /* [T][3 width] */
  float *context;  /* [T][width] */
  float *hidden;   /* [T][most] */
  float *scales;   /* [T][most parts of a matrix] */
  int16_t *levels; /* [T][most] */
  float *weights;  /* [threads][cells rounded up to LANES] */
  float *row;      /* [threads][most] */
  int32_t most;    /* inputs of the widest matrix */
  int32_t parts;   /* most parts of a matrix */
  int32_t cells;   /* of a head of the cache */
} Scratch;

/* The new tokens of a call, one vector of x [count][width] at cell cells[t] of slot slots[t] each. */
typedef struct {
  float *x;
  const int64_t *slots, *cells;
  int32_t count;
} Tokens;

static void affine(const Norm *norm, int32_t width, float epsilon, const float *x, float *y) {
  normalise(x, width, epsilon, y);
  for (int32_t c = 0; c < width; ++c) y[c] = y[c] * norm->weight[c] + norm->bias[c];
}

/* Levels of x [tokens][channels], normalised if there is a norm, as the weights read them. */
static Rows quantise_rows(Thread *thread, const Scratch *scratch, const Weights *weights, const Norm *norm,
                          float epsilon, const float *x, int32_t tokens) {
  const Matrix *matrix = &weights->matrix;
  const int32_t few = tokens <= GPT_FEW, channels = matrix->inputs * matrix->parts;
  const int64_t own = few ? (int64_t)thread->number * GPT_FEW : 0;
  int16_t *const levels = scratch->levels + own * scratch->most;
  float *const scales = scratch->scales + own * scratch->parts;
  float *const row = scratch->row + (int64_t)thread->number * scratch->most;
  const Rows rows = {levels, scales, channels, matrix->inputs, tokens};
  if (few && too_late(thread)) return rows;
  for (int32_t chunk = 0; (few ? chunk : (chunk = take(thread, (tokens + GPT_FEW - 1) / GPT_FEW))) >= 0;) {
    for (int32_t token = chunk * GPT_FEW; token < tokens && token < (chunk + 1) * GPT_FEW; ++token) {
      const float *source = x + (int64_t)token * channels;
      if (norm) affine(norm, channels, epsilon, source, row), source = row;
      for (int32_t part = 0; part < matrix->parts; ++part, source += matrix->inputs)
        scales[token + part * tokens] = quantise(source, matrix->inputs, matrix->inputs, matrix->limit,
                                                 levels + (int64_t)token * channels + part * matrix->inputs);
    }
    if (few) break;
  }
  return rows;
}

/* y [tokens][outputs] = finish(weights x + bias). */
static void product(Thread *thread, const Weights *weights, const Rows *x, int32_t tokens, Finish finish, float *y) {
  const Output output = {y, weights->matrix.outputs, finish};
  const int32_t panels = weights->matrix.outputs / MATRIX_COLUMNS, chunks = (panels + GPT_PANELS - 1) / GPT_PANELS;
  for (int32_t chunk; (chunk = take(thread, chunks)) >= 0;)
    few_rows(weights, x, tokens, chunk * GPT_PANELS * MATRIX_COLUMNS,
             (chunk + 1 < chunks ? (chunk + 1) * GPT_PANELS : panels) * MATRIX_COLUMNS, &output);
}

/* context = attention of the tokens' queries, once their keys and values are cached. A chunk is a head, from the
 * product of x to the end. */
static void attend_heads(Thread *thread, const Stack *stack, const Layer *layer, const Scratch *scratch, const Rows *x,
                         const Tokens *tokens) {
  const int32_t width = stack->width, size = width / stack->heads;
  const Output output = {scratch->qkv, 3 * width, FINISH_STORE};
  float *weights = scratch->weights + (int64_t)thread->number * ((scratch->cells + LANES - 1) / LANES * LANES);
  for (int32_t head; (head = take(thread, stack->heads)) >= 0;) {
    for (int32_t third = 0; third < 3; ++third)
      few_rows(&layer->qkv, x, tokens->count, third * width + head * size, third * width + (head + 1) * size, &output);
    const float *qkv = scratch->qkv + head * size;
    for (int32_t token = 0; token < tokens->count; ++token) {
      const int64_t cell = (tokens->slots[token] * stack->heads + head) * scratch->cells + tokens->cells[token];
      const float *row = qkv + (int64_t)token * 3 * width;
      memcpy(layer->keys + cell * size, row + width, sizeof(float) * (size_t)size);
      memcpy(layer->values + cell * size, row + 2 * width, sizeof(float) * (size_t)size);
    }
    for (int32_t token = 0; token < tokens->count; ++token) {
      const int64_t at = (tokens->slots[token] * stack->heads + head) * scratch->cells * size;
      attend(size, qkv + (int64_t)token * 3 * width, layer->keys + at, layer->values + at,
             (int32_t)tokens->cells[token] + 1, weights, scratch->context + (int64_t)token * width + head * size);
    }
  }
}

static void work(Thread *thread, const Stack *stack, const Scratch *scratch, const Tokens *tokens) {
  const float epsilon = stack->epsilon;
  const int32_t count = tokens->count;
  for (int32_t number = 0; number < stack->count; ++number) {
    const Layer *layer = stack->layers + number;
    Rows rows = quantise_rows(thread, scratch, &layer->qkv, &layer->attention_norm, epsilon, tokens->x, count);
    attend_heads(thread, stack, layer, scratch, &rows, tokens);
    rows = quantise_rows(thread, scratch, &layer->out, 0, 0, scratch->context, count);
    product(thread, &layer->out, &rows, count, FINISH_ADD, tokens->x);
    rows = quantise_rows(thread, scratch, &layer->up, &layer->mlp_norm, epsilon, tokens->x, count);
    product(thread, &layer->up, &rows, count, FINISH_GELU, scratch->hidden);
    rows = quantise_rows(thread, scratch, &layer->down, 0, 0, scratch->hidden, count);
    product(thread, &layer->down, &rows, count, FINISH_ADD, tokens->x);
  }
  for (int32_t token; (token = take(thread, count)) >= 0;) {
    float *row = tokens->x + (int64_t)token * stack->width;
    affine(&stack->stack_norm, stack->width, epsilon, row, row);
    affine(&stack->final_norm, stack->width, epsilon, row, row);
  }
}

/* Runs the tokens to their final states, in place. */
void run(const Stack *stack, const Scratch *scratch, const Tokens *tokens, int32_t threads) {
  Crew crew = {0};
#pragma omp parallel num_threads(threads)
  {
    Thread thread = this_thread(&crew);
    work(&thread, stack, scratch, tokens);
  }
}

/* y [tokens][outputs] = weights x + bias. */
void project(const Weights *weights, const Scratch *scratch, int32_t tokens, const float *x, float *y,
             int32_t threads) {
  Crew crew = {0};
#pragma omp parallel num_threads(threads)
  {
    Thread thread = this_thread(&crew);
    const Rows rows = quantise_rows(&thread, scratch, weights, 0, 0, x, tokens);
    product(&thread, weights, &rows, tokens, FINISH_STORE, y);
  }
}

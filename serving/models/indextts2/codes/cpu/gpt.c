/* The code model's stack on a CPU: all layers in one call, whichever rows, and any count of new tokens of each.
 *
 * A token is one vector at one cell of one slot of the cache. It attends to the cells of its slot up to its own, which
 * other tokens of the call may fill. Products are of 16-bit integers, exactly summed in parts of the inputs; all else
 * is float32, and every sum's order is fixed. So a token's bits depend neither on who shares the call nor on how many
 * threads share the work.
 *
 * Threads split products by outputs and attention by heads. No function allocates, fails or keeps state.
 */
#include "attend.h"
#include "crew.h"
#include "few_rows.h"

enum {
  FEW = MATRIX_ROWS, /* tokens up to which every thread makes the levels of all of them, sparing a phase */
  PANELS = 4, /* of a product that are one chunk */
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
  int32_t count, width, heads; /* layers; channels; heads of width / heads channels, a multiple of MATRIX_COLUMNS up to 64 */
  float epsilon;
} Stack;

/* Where a call works. T is the tokens, or FEW times the threads if that is more. */
typedef struct {
  float *qkv;     /* [T][3 width] */
  float *heard;   /* [T][width] */
  float *hidden;  /* [T][most] */
  float *scales;   /* [T][most parts of a matrix] */
  int16_t *levels; /* [T][most] */
  float *weights; /* [threads][cells rounded up to LANES] */
  float *row;     /* [threads][most] */
  int32_t most;   /* inputs of the widest matrix */
  int32_t parts;  /* most parts of a matrix */
  int32_t cells;  /* of a head of the cache */
} Scratch;

static void affine(const Norm *norm, int32_t width, float epsilon, const float *x, float *y) {
  normalise(x, width, epsilon, y);
  for (int32_t c = 0; c < width; ++c) y[c] = y[c] * norm->weight[c] + norm->bias[c];
}

/* Steps of x [tokens][channels], normalised if there is a norm, as the weights read them. */
static Rows quantise_rows(Thread *thread, const Scratch *scratch, const Weights *weights, const Norm *norm, float epsilon,
                     const float *x, int32_t tokens) {
  const Matrix *matrix = &weights->matrix;
  const int32_t few = tokens <= FEW, channels = matrix->inputs * matrix->parts;
  const int64_t own = few ? (int64_t)thread->number * FEW : 0;
  int16_t *const levels = scratch->levels + own * scratch->most;
  float *const scales = scratch->scales + own * scratch->parts;
  float *const row = scratch->row + (int64_t)thread->number * scratch->most;
  const Rows rows = {levels, scales, channels, matrix->inputs, tokens};
  if (few && too_late(thread)) return rows;
  for (int32_t chunk = 0; (few ? chunk : (chunk = take(thread, (tokens + FEW - 1) / FEW))) >= 0;) {
    for (int32_t token = chunk * FEW; token < tokens && token < (chunk + 1) * FEW; ++token) {
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
  const int32_t panels = weights->matrix.outputs / MATRIX_COLUMNS, chunks = (panels + PANELS - 1) / PANELS;
  for (int32_t chunk; (chunk = take(thread, chunks)) >= 0;)
    few_rows(weights, x, tokens, chunk * PANELS * MATRIX_COLUMNS,
             (chunk + 1 < chunks ? (chunk + 1) * PANELS : panels) * MATRIX_COLUMNS, finish, y, weights->matrix.outputs);
}

/* heard = attention of the tokens' queries, once their keys and values are cached. A chunk is a head, from the product
 * to the end. */
static void listen(Thread *thread, const Stack *stack, const Layer *layer, const Scratch *scratch, const Rows *x,
                   int32_t tokens, const int64_t *slots, const int64_t *cells) {
  const int32_t width = stack->width, size = width / stack->heads;
  float *weights = scratch->weights + (int64_t)thread->number * ((scratch->cells + LANES - 1) / LANES * LANES);
  for (int32_t head; (head = take(thread, stack->heads)) >= 0;) {
    for (int32_t third = 0; third < 3; ++third)
      few_rows(&layer->qkv, x, tokens, third * width + head * size, third * width + (head + 1) * size, STORE,
               scratch->qkv, 3 * width);
    const float *qkv = scratch->qkv + head * size;
    for (int32_t token = 0; token < tokens; ++token) {
      const int64_t at = ((slots[token] * stack->heads + head) * scratch->cells + cells[token]) * size;
      const float *row = qkv + (int64_t)token * 3 * width;
      memcpy(layer->keys + at, row + width, sizeof(float) * (size_t)size);
      memcpy(layer->values + at, row + 2 * width, sizeof(float) * (size_t)size);
    }
    for (int32_t token = 0; token < tokens; ++token) {
      const int64_t at = (slots[token] * stack->heads + head) * scratch->cells * size;
      attend(size, qkv + (int64_t)token * 3 * width, layer->keys + at, layer->values + at, (int32_t)cells[token] + 1,
             weights, scratch->heard + (int64_t)token * width + head * size);
    }
  }
}

static void work(Thread *thread, const Stack *stack, const Scratch *scratch, int32_t tokens, const int64_t *slots,
                 const int64_t *cells, float *x) {
  const float epsilon = stack->epsilon;
  for (int32_t number = 0; number < stack->count; ++number) {
    const Layer *layer = stack->layers + number;
    Rows rows = quantise_rows(thread, scratch, &layer->qkv, &layer->attention_norm, epsilon, x, tokens);
    listen(thread, stack, layer, scratch, &rows, tokens, slots, cells);
    rows = quantise_rows(thread, scratch, &layer->out, 0, 0, scratch->heard, tokens);
    product(thread, &layer->out, &rows, tokens, ADD, x);
    rows = quantise_rows(thread, scratch, &layer->up, &layer->mlp_norm, epsilon, x, tokens);
    product(thread, &layer->up, &rows, tokens, GELU, scratch->hidden);
    rows = quantise_rows(thread, scratch, &layer->down, 0, 0, scratch->hidden, tokens);
    product(thread, &layer->down, &rows, tokens, ADD, x);
  }
  for (int32_t token; (token = take(thread, tokens)) >= 0;) {
    float *row = x + (int64_t)token * stack->width;
    affine(&stack->stack_norm, stack->width, epsilon, row, row);
    affine(&stack->final_norm, stack->width, epsilon, row, row);
  }
}

/* Runs x [tokens][width], one vector at cell cells[t] of slot slots[t] each, to final states in place. */
void run(const Stack *stack, const Scratch *scratch, int32_t tokens, const int64_t *slots, const int64_t *cells,
         float *x, int32_t threads) {
  Crew crew = {0};
#pragma omp parallel num_threads(threads)
  {
    Thread thread = this_thread(&crew);
    work(&thread, stack, scratch, tokens, slots, cells, x);
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
    product(&thread, weights, &rows, tokens, STORE, y);
  }
}

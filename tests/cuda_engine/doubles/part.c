/* A part of cuDNN's double, which has none: the engine opens cuDNN's before it calls cuDNN. */
extern const char dukd_cudnn_part[];

__attribute__((visibility("default"))) const char dukd_cudnn_part[] = "a part";

/* Made by edgesep/core/make_tables.py: change that, not this. */
#ifndef EDGESEP_TABLES_H
#define EDGESEP_TABLES_H

#include <stdint.h>

/* n < 448: sin(pi (n + 1/2) / 896); else cos(pi (n - 448 + 1/2) / 128). Q31. */
extern const int32_t edgesep_analysis_window_q31[512];

/* cos, sin(2 pi i k / 256) for k < 64: six columns, two for each i = 1, 2, 3. Q30. */
extern const int32_t edgesep_fft_turns_q30[384];

/* cos(2 pi k / 512). Q31, saturated: the high half of a product is half of it. */
extern const int32_t edgesep_split_cos_q31[128];

/* sin(2 pi k / 512). Q31. */
extern const int32_t edgesep_split_sin_q31[128];

/* sin^2(pi k / 512). Q30. */
extern const int32_t edgesep_sine_square_q30[257];

/* log2(1 + i / 64). Q16. */
extern const int32_t edgesep_log2_q16[65];

#endif

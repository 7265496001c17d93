/* DMA of an STM32F4: I2S2 in full duplex with STM32CubeF4's HAL.
 *
 * In CubeMX: I2S2 full-duplex master, Philips, 16 bit, 16 kHz; both DMA streams circular, halfword;
 * their interrupts on. CubeMX's main calls MX_..._Init, then the main of main_dma.c, renamed.
 * Written after the HAL's documentation: it has been compiled, not run.
 */
#include "i2s.h" /* of CubeMX: the HAL, hi2s2 */
#include "sound.h"

static ping_pong *stream;

void HAL_I2SEx_TxRxHalfCpltCallback(I2S_HandleTypeDef *i2s) {
    (void)i2s;
    ping_pong_filled(stream);
}

void HAL_I2SEx_TxRxCpltCallback(I2S_HandleTypeDef *i2s) {
    (void)i2s;
    ping_pong_filled(stream);
}

int sound_start(ping_pong *p) {
    stream = p;
    return HAL_I2SEx_TransmitReceive_DMA(&hi2s2, (uint16_t *)p->out[0], (uint16_t *)p->in[0],
                                         2 * PING_PONG_HALF) == HAL_OK;
}

int sound_wait(ping_pong *p) {
    (void)p;
    __WFE(); /* an interrupt that came before it ends it at once */
    return 1;
}

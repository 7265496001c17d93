/* DMA of an STM32F7 or STM32U5: the two blocks of SAI1 with the HAL.
 *
 * In CubeMX: block A master transmitter, block B synchronous slave receiver, I2S, 16 bit, two
 * slots, 16 kHz; both DMA channels circular, halfword; their interrupts on. CubeMX's main calls
 * MX_..._Init, then the main of main_dma.c, renamed.
 * Where there is a data cache (STM32F7), `sound` of main_dma.c belongs into DTCM.
 * Written after the HAL's documentation: it has been compiled, not run.
 */
#include "sai.h" /* of CubeMX: the HAL, hsai_BlockA1, hsai_BlockB1 */
#include "sound.h"

static ping_pong *stream;

void HAL_SAI_RxHalfCpltCallback(SAI_HandleTypeDef *sai) {
    (void)sai;
    ping_pong_filled(stream);
}

void HAL_SAI_RxCpltCallback(SAI_HandleTypeDef *sai) {
    (void)sai;
    ping_pong_filled(stream);
}

int sound_start(ping_pong *p) {
    stream = p;
    return HAL_SAI_Receive_DMA(&hsai_BlockB1, (uint8_t *)p->in[0], 2 * PING_PONG_HALF) == HAL_OK &&
           HAL_SAI_Transmit_DMA(&hsai_BlockA1, (uint8_t *)p->out[0], 2 * PING_PONG_HALF) == HAL_OK;
}

int sound_wait(ping_pong *p) {
    (void)p;
    __WFE(); /* an interrupt that came before it ends it at once */
    return 1;
}

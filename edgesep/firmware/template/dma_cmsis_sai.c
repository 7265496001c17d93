/* DMA of a board with a CMSIS-Driver for SAI or I2S (Alif Ensemble and others): Driver_SAI0.
 *
 * The driver is asked for the next half as soon as one is through; its own DMA does the rest.
 * Written after the driver's specification: it has been compiled, not run.
 */
#include "Driver_SAI.h"
#include "sound.h"

#define FORMAT (ARM_SAI_MODE_MASTER | ARM_SAI_PROTOCOL_I2S | ARM_SAI_DATA_SIZE(16))

extern ARM_DRIVER_SAI Driver_SAI0;

static ping_pong *stream;

/* Ask for the next half in and out. */
static int transfer(ping_pong *p) {
    const uint32_t half = p->filled & 1u;
    return Driver_SAI0.Receive(p->in[half], PING_PONG_HALF) == ARM_DRIVER_OK &&
           Driver_SAI0.Send(p->out[half], PING_PONG_HALF) == ARM_DRIVER_OK;
}

static void on_event(uint32_t event) {
    if ((event & ARM_SAI_EVENT_RECEIVE_COMPLETE) != 0u) {
        ping_pong_filled(stream);
        (void)transfer(stream);
    }
}

int sound_start(ping_pong *p) {
    stream = p;
    return Driver_SAI0.Initialize(on_event) == ARM_DRIVER_OK &&
           Driver_SAI0.PowerControl(ARM_POWER_FULL) == ARM_DRIVER_OK &&
           Driver_SAI0.Control(ARM_SAI_CONFIGURE_TX | FORMAT, 0, 16000) == ARM_DRIVER_OK &&
           Driver_SAI0.Control(ARM_SAI_CONFIGURE_RX | FORMAT, 0, 16000) == ARM_DRIVER_OK &&
           transfer(p) && Driver_SAI0.Control(ARM_SAI_CONTROL_TX, 1, 0) == ARM_DRIVER_OK &&
           Driver_SAI0.Control(ARM_SAI_CONTROL_RX, 1, 0) == ARM_DRIVER_OK;
}

int sound_wait(ping_pong *p) {
    (void)p;
    __asm__ volatile("wfe"); /* an interrupt that came before it ends it at once */
    return 1;
}

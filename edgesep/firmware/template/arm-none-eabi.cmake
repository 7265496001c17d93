# CMake's toolchain file for @BOARD@: gcc-arm-none-eabi.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR arm)
set(CMAKE_C_COMPILER arm-none-eabi-gcc)
set(CMAKE_C_FLAGS_INIT "@CPU_FLAGS@")
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)

# What the Pico SDK's file of this name gives a project, for an emulated board instead of an RP2040:
# a toolchain, of gcc for Cortex-M0+, that looks for packages beside the compiler only, and
# pico_sdk_init with the library and functions that examples/rp2040 uses.
set(PICO_SDK_STAND_IN ${CMAKE_CURRENT_LIST_DIR}/..)
set(CMAKE_TOOLCHAIN_FILE ${CMAKE_CURRENT_LIST_DIR}/toolchain.cmake)

macro(pico_sdk_init)
  add_library(pico_stdlib INTERFACE)
  target_sources(pico_stdlib INTERFACE ${PICO_SDK_STAND_IN}/board.c)
  target_include_directories(pico_stdlib INTERFACE ${PICO_SDK_STAND_IN}/include)
  target_link_options(pico_stdlib INTERFACE -T ${PICO_SDK_STAND_IN}/board.ld)
  target_link_libraries(pico_stdlib INTERFACE gcc)
endmacro()

# Text goes over the board's one serial line; there is no USB.
function(pico_enable_stdio_usb target enabled)
endfunction()
function(pico_enable_stdio_uart target enabled)
endfunction()

function(pico_add_extra_outputs target)
  add_custom_command(TARGET ${target} POST_BUILD
    COMMAND ${CMAKE_OBJCOPY} -O binary $<TARGET_FILE:${target}> ${target}.bin)
endfunction()

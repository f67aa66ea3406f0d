"""Operations from the screens: buttons, the page to confirm with, batches."""

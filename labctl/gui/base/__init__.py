"""What every part of the window uses: colours, texts, fields, keys, dialogs."""
